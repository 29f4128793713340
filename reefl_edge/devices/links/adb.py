"""How is a phone reached by adb, and which of those that are connected?

By the real client, on a port of its own for adb's server: another version's server, such as that of
an Android SDK, is left alone. ``ANDROID_ADB_SERVER_PORT`` names another port, as it does for adb.
"""

import os
import re
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

from reefl_edge.devices.links.agents import AgentFor
from reefl_edge.devices.links.client import missing_client, run_client
from reefl_edge.devices.links.shell import ShellLink
from reefl_edge.devices.profiles import DeviceProfile
from reefl_edge.errors import DeviceError
from reefl_edge.kept import kept_folder

PREFIX = "adb:"

_PORT_VARIABLE = "ANDROID_ADB_SERVER_PORT"
_OWN_PORT = "5137"  # adb's own is 5037
_ANSWER_S = 30.0

# What adb says of a device that it cannot talk to, and what a user does about it.
_STATES = {
    "unauthorized": "is unauthorized: unlock it, and allow this computer on its screen",
    "authorizing": "is being authorized: unlock it, and allow this computer on its screen",
    "offline": "is offline: connect its cable again, or restart it",
    "no permissions": "may not be opened by this user: see 'adb devices' for udev rules",
    "recovery": "is in recovery mode: let it start Android",
    "sideload": "is in recovery mode: let it start Android",
    "bootloader": "is in its bootloader: let it start Android",
}
# What adb's client says, what it means; the first that fits.
_TROUBLES = (
    ("unauthorized", "it is unauthorized: unlock it, and allow this computer on its screen"),
    ("offline", "it is offline: connect its cable again, or restart it"),
    ("No space left", "its storage is full"),
    ("not found|no devices", "it is not connected"),
    ("closed|reset|protocol fault|EOF|Connection refused", "the link was cut"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AdbDevice:
    """What adb's server sees at the end of a cable.

    Attributes:
        serial: What adb calls it.
        state: ``device`` where it can be talked to.
        model: What it calls itself; None before it can be talked to.
    """

    serial: str
    state: str
    model: str | None = None

    @property
    def name(self) -> str:
        """What it is called on the command line."""
        return f"{PREFIX}{self.serial}"

    @property
    def is_ready(self) -> bool:
        """Whether it can be talked to."""
        return self.state == "device"

    @property
    def told(self) -> str:
        """Name it for a message."""
        return f"{self.serial} ({self.model or self.state})"

    def matches(self, profile: DeviceProfile) -> bool:
        """Tell whether it is a device of a profile; adb writes ``_`` for what is no letter."""
        return self.model in {re.sub(r"\W", "_", model) for model in profile.adb_models}


class AdbClient:
    """The client of Android's debug bridge, for one device.

    Args:
        serial: What adb calls it.
    """

    root = "/data/local/tmp/reefl-edge"

    def __init__(self, serial: str) -> None:
        self._argv = [*_adb(), "-s", serial]

    def shell(self, command: str) -> list[str]:
        """Return the argv that has the shell there run a command."""
        return [*self._argv, "shell", "-T", command]

    def connection(self) -> AbstractContextManager[None]:
        """Do nothing: adb's server keeps one connection."""
        return nullcontext()

    def sending(self, here: Path, there: str) -> list[str]:
        """Return the argv that pushes a file or a folder: quicker than through the shell."""
        return [*self._argv, "push", os.fspath(here), there]

    def trouble(self, stderr: str) -> str:
        """Say what adb could not do."""
        for said, meaning in _TROUBLES:
            if re.search(said, stderr):
                return meaning
        lines = stderr.strip().splitlines()
        return lines[-1] if lines else ""


def adb_link(serial: str, *, agent_for: AgentFor, name: str | None = None) -> ShellLink:
    """Return the link to a device that is connected.

    Args:
        serial: What adb calls it.
        agent_for: Gives what obeys jobs there.
        name: What we call it; None for its serial.

    Raises:
        DeviceError: It is not connected, or cannot be talked to.
        MissingToolchainError: There is no adb.
    """
    devices = connected()
    for device in devices:
        if device.serial == serial:
            check_ready(device)
            return _link(device, name or device.name, agent_for)
    raise DeviceError(f"{PREFIX}{serial} is not connected; adb sees {_told(devices)}")


def profiled_link(profile: DeviceProfile, *, agent_for: AgentFor) -> ShellLink:
    """Return the link to the one device that a profile is about.

    Raises:
        DeviceError: None is connected, or several are, or it cannot be talked to.
        MissingToolchainError: There is no adb.
    """
    devices = connected()
    matching = [device for device in devices if device.matches(profile)]
    if len(matching) > 1:
        raise DeviceError(
            f"several devices are a {profile.title}: {_told(matching)}; "
            f"choose one with --device {PREFIX}SERIAL"
        )
    if not matching:
        for device in devices:  # it may be the one, and cannot say so
            if device.model is None:
                check_ready(device)
        raise DeviceError(
            f"no {profile.title} is connected by adb, which sees {_told(devices)}; "
            "connect one that has USB debugging switched on"
        )
    check_ready(matching[0])
    return _link(matching[0], profile.name, agent_for)


def connected() -> tuple[AdbDevice, ...]:
    """List what is connected, starting adb's server if need be.

    Raises:
        DeviceError: The server does not answer.
        MissingToolchainError: There is no adb.
    """
    _start_server()
    try:
        listed = run_client([*_adb(), "devices", "-l"], timeout_s=_ANSWER_S)
    except TimeoutError as error:
        raise DeviceError(f"adb's server does not answer: {error}") from error
    if listed.exit_code != 0:
        raise DeviceError(_last_line(listed.stderr.decode(errors="replace")))
    lines = listed.stdout.decode(errors="replace").splitlines()
    return tuple(
        parse_device(line) for line in lines[1:] if line.strip() and not line.startswith("*")
    )


def parse_device(line: str) -> AdbDevice:
    """Read a line of ``adb devices -l``.

    >>> parse_device("28291FDH2000AB  device usb:1-1 product:panther model:Pixel_7 transport_id:1")
    AdbDevice(serial='28291FDH2000AB', state='device', model='Pixel_7')
    """
    serial, _, rest = line.strip().partition(" ")
    rest = rest.strip()
    state = "no permissions" if rest.startswith("no permissions") else rest.partition(" ")[0]
    model = re.search(r"\bmodel:(\S+)", rest)
    return AdbDevice(serial=serial, state=state, model=model and model[1])


def _start_server() -> None:
    """Start adb's server, unless it runs; it may keep what it writes to for ever: a file."""
    folder = kept_folder("adb")  # its log goes to what it takes for the temporary folder
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile() as said:
        try:
            started = subprocess.run(
                [*_adb(), "start-server"],
                env=os.environ | ({"TMPDIR": str(folder)} if folder.is_dir() else {}),
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                timeout=_ANSWER_S,
                process_group=0,
                check=False,
            )
        except FileNotFoundError as error:
            raise missing_client("adb") from error
        except subprocess.TimeoutExpired as error:
            raise DeviceError("adb's server does not start") from error
        if started.returncode != 0:
            said.seek(0)
            raise DeviceError(
                f"adb's server does not start: {_last_line(said.read().decode(errors='replace'))}"
            )


def _adb() -> list[str]:
    return ["adb", "-P", os.environ.get(_PORT_VARIABLE) or _OWN_PORT]


def _link(device: AdbDevice, name: str, agent_for: AgentFor) -> ShellLink:
    return ShellLink(
        name,
        AdbClient(device.serial),
        agent_for=agent_for,
        # What Android's SDK calls its own emulation of a device.
        is_real_hardware=not device.serial.startswith("emulator-"),
    )


def check_ready(device: AdbDevice) -> None:
    """Refuse a device that cannot be talked to.

    Raises:
        DeviceError: It cannot; why, and what to do.
    """
    if not device.is_ready:
        what = _STATES.get(device.state, f"cannot be talked to: its state is {device.state}")
        raise DeviceError(f"{device.serial} {what}")


def _told(devices: Sequence[AdbDevice]) -> str:
    return ", ".join(device.told for device in devices) or "no device"


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else "adb does not say why"

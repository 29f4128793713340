"""How does a device do what a link must do, if all it has is a shell that is far away?

Everything is kept in one folder of the device, its *root*: ``files`` by their hash, ``agents`` by
that of their archive, ``partial`` for what is on its way, ``runs`` for what a process works on.
What is on its way is checked there and then renamed: a name stands for whole content.
"""

import hashlib
import logging
import secrets
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from math import inf
from pathlib import Path

from reefl_edge.agent import device_python
from reefl_edge.agent.agent import START_NAME
from reefl_edge.devices.description import (
    DEVICE_STATE_COMMANDS,
    DEVICE_STATE_FILES,
    HOST_COMMANDS,
    HOST_FILES,
    device_state_in,
    host_in,
)
from reefl_edge.devices.host import MEASURED_PACKAGES, Host
from reefl_edge.devices.links import scripts
from reefl_edge.devices.links.agents import AgentFor, Machine, PackedAgent
from reefl_edge.devices.links.base import Finished
from reefl_edge.devices.links.client import as_file, run_client
from reefl_edge.devices.links.remote_shell import CALL_S, Client, RemoteShell
from reefl_edge.devices.links.streams import OnLine
from reefl_edge.devices.state import State
from reefl_edge.errors import DeviceError
from reefl_edge.files import replacing_file, sha256_of_file

# What a link carries at least, for how long a push or a pull may take: a slow uplink.
_BYTES_PER_S = 250_000
_MIB = 2**20
# A pull does not know beforehand how much comes.
_PULL_S = 3600.0

_log = logging.getLogger(__name__)


class ShellLink:
    """A device that is reached by a client.

    Args:
        name: The device's name, in reports and on the command line.
        client: What carries a shell's command lines there.
        agent_for: Gives what obeys jobs on a machine.
        is_real_hardware: Whether the device itself computes, not an emulation of it.
    """

    def __init__(
        self,
        name: str,
        client: Client,
        *,
        agent_for: AgentFor,
        is_real_hardware: bool = True,
    ) -> None:
        self.name = name
        self.has_agent = True
        self.is_real_hardware = is_real_hardware
        self._client = client
        self._shell = RemoteShell(name, client)
        self._agent_for = agent_for
        self._root: str | None = None
        self._agent: PackedAgent | None = None
        self._device_python: str | None = None
        self._there: set[str] = set()

    @property
    def python(self) -> tuple[str, ...]:
        """How the agent there is started; see ``Link.python``."""
        if self._agent is None:
            raise RuntimeError(f"{self.name} has an agent only while it is held")
        # There may be no /bin/sh for the script to name.
        return ("sh", f"{self._folder_of(self._agent)}/{START_NAME}")

    def describe(self) -> Host:
        """Describe the machine there; see ``Link.describe``."""
        files = self._shell.told(HOST_FILES, HOST_COMMANDS)
        try:
            host = host_in(files)
            if self._agent is None:
                return host
            packages = {
                name: version
                for name, version in self._agent.packages.items()
                if name in MEASURED_PACKAGES
            }
            return replace(
                host,
                python_version=self._agent.python_version,
                device_python=self._device_python,
                packages=packages,
            )
        except (KeyError, ValueError) as error:
            raise DeviceError(f"{self.name} is no Linux that we know: {error}") from error

    def state(self) -> State:
        """Tell how hot it is there; see ``Link.state``."""
        return device_state_in(self._shell.told(DEVICE_STATE_FILES, DEVICE_STATE_COMMANDS))

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep the device to ourselves, with an agent on it; see ``Link.held``."""
        with self._locked():
            machine = Machine(name=self.name, abi=self._abi(), find_pythons=self._pythons)
            agent = self._agent_for(machine)
            self._put(agent.archive, self._folder_of(agent), scripts.SETTLE_ARCHIVE)
            self._agent = agent
            try:
                if not agent.has_own_python:
                    self._meet_device_python(agent)
                yield
            finally:
                self._agent = self._device_python = None

    def push(
        self,
        path: Path,
        *,
        sha256: str,
        into: str | None = None,
        before_sending: Callable[[], None] = lambda: None,
    ) -> str:
        """Send a file or a folder, unless it is there; see ``Link.push``."""
        suffix = path.suffix if path.is_file() and path.suffix[1:].isalnum() else ""
        place = f"{into or f'{self._root}/files'}/{sha256}{suffix}"
        self._put(path, place, scripts.SETTLE, before_sending)
        return place

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        timeout_s: float | None = None,
        silence_s: float | None = None,
        on_line: OnLine = lambda _: None,
    ) -> Finished:
        """Run a process there; see ``Link.run``."""
        folder = self._fresh("runs")
        with as_file(stdin) as content:
            self._shell.do(
                scripts.PREPARE, folder, stdin=content, timeout_s=_seconds_for(len(stdin))
            )
        finished = self._shell.converse(
            scripts.RUN,
            folder,
            *argv,
            timeout_s=timeout_s,
            silence_s=silence_s,
            on_line=on_line,
        )
        # A shell says 128 and the signal.
        code = finished.exit_code
        return Finished(
            exit_code=128 - code if code > 128 else code,
            stdout=finished.stdout,
            stderr=finished.stderr,
        )

    def pull(self, there: str, here: Path) -> None:
        """Fetch a file; see ``Link.pull``."""
        with replacing_file(here) as partial:
            try:
                content = self._shell.do(scripts.FETCH, there, timeout_s=_PULL_S)
            except DeviceError as error:
                raise DeviceError(f"cannot fetch {there} from {error}") from error
            line, _, content = content.partition(b"\n")
            if line.split()[0].decode() != hashlib.sha256(content).hexdigest():
                raise DeviceError(f"{there} did not arrive whole from {self.name}")
            partial.write_bytes(content)

    @contextmanager
    def scratch(self) -> Iterator[str]:
        """Make a folder there; see ``Link.scratch``."""
        folder = self._fresh("runs")
        self._shell.do(scripts.MAKE_FOLDER, folder)
        try:
            yield folder
        finally:
            with suppress(DeviceError):  # whoever holds the device next removes it
                self._shell.do(scripts.REMOVE, folder)

    def clean(self) -> None:
        """Remove all that was put there; see ``Link.clean``."""
        with self._locked():
            # Of the root, the lock alone stays: it is what keeps others out until the end. Who
            # held it last, nobody needs to know any longer; who tries meanwhile hears "somebody".
            self._shell.do(scripts.REMOVE, *(f"{self._root}/{name}" for name in scripts.KEPT))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with self._shell.held() as root:
            self._root = root
            try:
                yield
            finally:
                self._root = None
                self._there.clear()

    def _put(
        self,
        path: Path,
        place: str,
        settle: str,
        before_sending: Callable[[], None] = lambda: None,
    ) -> None:
        """Send a file or a folder to its place, unless something is there."""
        if place in self._there:
            return
        aside = self._fresh("partial")
        room = self._shell.do(scripts.FIND, place, aside).decode()
        if room:
            before_sending()
            size = _size_of(path)
            self._check_room(size, _free_bytes(room))
            _log.info("sending %s to %s (%.1f MiB)", path, self.name, size / _MIB)
            self._send(path, f"{aside}/content", timeout_s=_seconds_for(size))
            with as_file(_sums(path).encode()) as sums:
                self._shell.do(settle, aside, place, stdin=sums, timeout_s=_seconds_for(size))
        self._there.add(place)

    def _check_room(self, size: int, free: float) -> None:
        if size > free:
            raise DeviceError(
                f"no room on {self.name}: {size / _MIB:.0f} MiB to send, {free / _MIB:.0f} MiB "
                f"free in {self._root}{self._shell.way_to_room}"
            )

    def _send(self, path: Path, there: str, *, timeout_s: float) -> None:
        argv = self._client.sending(path.absolute(), there)
        if argv is not None:
            try:
                finished = run_client(argv, timeout_s=timeout_s)
            except TimeoutError as error:
                raise DeviceError(f"{self.name} does not answer: {error}") from error
            if finished.exit_code != 0:
                raise self._shell.cut(finished.stdout + finished.stderr)
        elif path.is_dir():
            with tempfile.TemporaryFile() as archive:
                with tarfile.open(fileobj=archive, mode="w") as tar:
                    for name, file in _files_in(path):
                        tar.add(file, name, recursive=False)
                archive.seek(0)
                self._shell.do(scripts.RECEIVE_FOLDER, there, stdin=archive, timeout_s=timeout_s)
        else:
            with path.open("rb") as content:
                self._shell.do(scripts.RECEIVE_FILE, there, stdin=content, timeout_s=timeout_s)

    def _folder_of(self, agent: PackedAgent) -> str:
        return f"{self._root}/agents/{agent.sha256}"

    def _abi(self) -> str:
        return self._shell.do("uname -m").decode().strip()

    def _pythons(self) -> tuple[str, ...]:
        question, names = device_python.QUESTION, device_python.NAMES
        told = self._shell.do(scripts.ASK_PYTHONS, question, *names)
        return tuple(dict.fromkeys(told.decode().split()))

    def _meet_device_python(self, agent: PackedAgent) -> None:
        """Learn which of the device's Pythons the agent runs on, from that one."""
        told = self._shell.do(
            'exec "$@"', *self.python, "-c", device_python.SELF_DESCRIPTION
        ).decode()
        version, self._device_python = told.splitlines()
        self._agent = replace(agent, python_version=version)

    def _fresh(self, kind: str) -> str:
        return f"{self._root}/{kind}/{secrets.token_hex(8)}"


def _seconds_for(num_bytes: int) -> float:
    return CALL_S + num_bytes / _BYTES_PER_S


def _free_bytes(table: str) -> float:
    r"""Read what ``df -Pk`` says of one file system; of one that it does not know, any room.

    >>> _free_bytes("Filesystem 1024-blocks Used Available ...\n/dev/x 9 7 2 78% /data")
    2048
    """
    fields = table.splitlines()[-1].split()
    return int(fields[3]) * 1024 if len(fields) > 3 and fields[3].isdecimal() else inf


def _files_in(folder: Path) -> list[tuple[str, Path]]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return sorted((path.relative_to(folder).as_posix(), path) for path in files)


def _size_of(path: Path) -> int:
    files = [file for _, file in _files_in(path)] if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files)


def _sums(path: Path) -> str:
    """List the hashes of what is sent, as ``sha256sum`` checks them."""
    if path.is_file():
        return f"{sha256_of_file(path)}  content\n"
    return "".join(f"{sha256_of_file(file)}  content/{name}\n" for name, file in _files_in(path))

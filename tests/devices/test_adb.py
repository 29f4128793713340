"""Which phones adb sees, which of them is meant, and what can go wrong; a real client."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from reefl_edge.devices.links import adb
from reefl_edge.devices.links.agents import built_agent
from reefl_edge.devices.links.opening import link_for
from reefl_edge.devices.links.shell import ShellLink
from reefl_edge.errors import DeviceError, MissingToolchainError
from tests.agents import stand_in
from tests.phone import phones
from tests.phone.phones import Phone, adb_server, needs_adb, phone_in


class Cables:
    """Phones that can be switched on and connected, one after the other."""

    def __init__(self, folder: Path, environment: dict[str, str], stack: ExitStack) -> None:
        self._folder, self._environment, self._stack = folder, environment, stack

    def connect(self, *options: str) -> Phone:
        """Switch a phone on, and connect it."""
        folder = self._folder / f"phone{len(list(self._folder.iterdir()))}"
        phone = self._stack.enter_context(phone_in(folder, *options, binds=()))
        phones.adb(self._environment, "connect", phone.serial)
        return phone


@pytest.fixture
def cables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cables]:
    with adb_server(tmp_path) as environment, ExitStack() as stack:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        yield Cables(tmp_path, environment, stack)


@needs_adb
def test_the_server_that_is_started_leaves_nothing_among_temporary_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with adb_server(tmp_path) as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        phones.adb(environment, "kill-server")
        temporary = tmp_path / "temporary"
        temporary.mkdir()
        monkeypatch.setenv("TMPDIR", str(temporary))

        adb.connected()

        assert list(temporary.iterdir()) == []


@needs_adb
def test_a_phone_is_found_by_the_model_in_its_profile(cables: Cables) -> None:
    cables.connect("--model", "SM-S911B")
    cables.connect()

    link = link_for("pixel7")

    assert link.name == "pixel7"
    assert link.is_real_hardware
    host = link.describe()
    assert host.os.startswith("Android 14 (Linux ")
    assert host.cpu_name == "Google GS201"
    assert host.governor == "sched_pixel"
    assert [cluster.max_mhz for cluster in host.clusters] == [1803.0]  # of the two cores here
    state = link.state()
    assert state.battery_percent == 87
    assert state.is_plugged_in
    assert state.temperatures_c["battery"] == 28.4
    assert state.temperatures_c["BIG"] == 41.0


@needs_adb
def test_a_phone_is_found_by_its_serial_without_a_profile(cables: Cables) -> None:
    phone = cables.connect("--model", "Unheard-of 3")

    link = link_for(f"adb:{phone.serial}")

    assert isinstance(link, ShellLink)
    assert link.name == f"adb:{phone.serial}"
    assert link.describe().os.startswith("Android")


@needs_adb
def test_without_a_phone_it_says_so(cables: Cables) -> None:  # noqa: ARG001 - adb's server
    with pytest.raises(DeviceError, match="no Google Pixel 7 is connected by adb, which sees no"):
        link_for("pixel7")
    with pytest.raises(DeviceError, match="adb:ABC is not connected; adb sees no device"):
        link_for("adb:ABC")


@needs_adb
def test_another_phone_is_named(cables: Cables) -> None:
    phone = cables.connect("--model", "SM-S911B")

    with pytest.raises(DeviceError, match=rf"adb, which sees {phone.serial} \(SM_S911B\)"):
        link_for("pixel7")


@needs_adb
def test_several_phones_of_a_profile_are_listed(cables: Cables) -> None:
    first, second = cables.connect(), cables.connect()

    with pytest.raises(DeviceError, match="several devices are a Google Pixel 7: ") as caught:
        link_for("pixel7")
    assert first.serial in str(caught.value)
    assert second.serial in str(caught.value)
    assert "--device adb:SERIAL" in str(caught.value)


@needs_adb
@pytest.mark.parametrize("device", ["pixel7", "adb:{serial}"])
def test_a_phone_that_nobody_has_allowed_is_told(cables: Cables, device: str) -> None:
    phone = cables.connect("--unauthorized")

    with pytest.raises(DeviceError, match=f"{phone.serial} is unauthorized: unlock it, and allow"):
        link_for(device.format(serial=phone.serial))


@needs_adb
def test_a_phone_that_goes_away_is_told(cables: Cables) -> None:
    phone = cables.connect()
    link = link_for("pixel7")

    phone.process.kill()
    phone.process.wait()

    with pytest.raises(DeviceError, match=r"pixel7: (it is offline|it is not connected|the link)"):
        link.describe()


@needs_adb
def test_a_phone_without_room_is_told_before_and_while_it_fills(
    cables: Cables, tmp_path: Path
) -> None:
    phone = cables.connect("--data-mib", "2")
    for name in ("small", "large"):
        (tmp_path / name).mkdir()
    (tmp_path / "file").write_bytes(bytes(3 * 2**20))
    small = stand_in(tmp_path / "small", "true")
    large = stand_in(tmp_path / "large", "true", padding_bytes=4 * 2**20)

    with (
        (link := adb.adb_link(phone.serial, agent_for=small)).held(),
        pytest.raises(DeviceError, match=r"no room on adb:.*: 3 MiB to send, 2 MiB free in /data"),
    ):
        link.push(tmp_path / "file", sha256="0" * 64)
    with (
        pytest.raises(DeviceError, match=r"no room on adb:.*: .*No space left on device"),
        adb.adb_link(phone.serial, agent_for=large).held(),
    ):
        pass


def test_the_states_of_adb_are_told_with_the_way_out() -> None:
    lines = (
        "ABC offline usb:1-1 transport_id:2",
        "ABC no permissions (user is not in the plugdev group); see [http://x] usb:1-1",
        "ABC bootloader usb:1-1",
        "ABC strange",
    )
    told = []
    for line in lines:
        with pytest.raises(DeviceError) as caught:
            adb.check_ready(adb.parse_device(line))
        told.append(str(caught.value))

    assert told == [
        "ABC is offline: connect its cable again, or restart it",
        "ABC may not be opened by this user: see 'adb devices' for udev rules",
        "ABC is in its bootloader: let it start Android",
        "ABC cannot be talked to: its state is strange",
    ]


def test_without_adb_it_is_said_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(MissingToolchainError, match=r"adb, .*\(Debian: apt install adb\)"):
        adb.adb_link("ABC", agent_for=built_agent)

"""Links: which there are, and what the one to this machine does with processes and files."""

from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from reefl_edge.devices.cores import CoreCluster
from reefl_edge.devices.host import Host, describe_host
from reefl_edge.devices.links.base import Link
from reefl_edge.devices.links.local import LocalLink, _environment
from reefl_edge.devices.links.opening import link_for
from reefl_edge.errors import DeviceError
from tests.fakes.devices import FakeLink


def python(program: str) -> tuple[str, ...]:
    return (*LocalLink.python, "-c", program)


def test_a_process_gets_its_input_and_leaves_what_it_wrote() -> None:
    program = (
        "import sys\n"
        "sys.stdout.write(sys.stdin.read().upper())\n"
        "sys.stderr.write('aside')\n"
        "sys.exit(7)\n"
    )

    finished = LocalLink().run(python(program), stdin=b"word")

    assert (finished.exit_code, finished.stdout, finished.stderr) == (7, b"WORD", b"aside")


def test_arguments_arrive_as_they_are() -> None:
    odd = "a b'c\"$HOME;*"

    finished = LocalLink().run((*python("import sys; print(sys.argv[1])"), odd))

    assert finished.stdout.decode() == f"{odd}\n"


def test_a_process_that_takes_too_long_is_killed() -> None:
    program = "import time; time.sleep(600)"

    with pytest.raises(TimeoutError, match=r"took longer than 0\.01 s"):
        LocalLink().run(python(program), timeout_s=0.01)
    assert not psutil.Process().children()


def test_a_process_that_says_nothing_for_too_long_is_killed() -> None:
    program = "import time; print(1, flush=True); time.sleep(600)"

    with pytest.raises(TimeoutError, match=r"wrote nothing for 0\.5 s"):
        LocalLink().run(python(program), silence_s=0.5)
    assert not psutil.Process().children()


def test_a_process_that_says_something_now_and_then_is_heard_to_its_end() -> None:
    program = (
        "import sys, time\n"
        "for step in range(8):\n"
        "    print('step', step, file=sys.stderr, flush=True)\n"
        "    time.sleep(0.2)\n"
    )
    lines: list[str] = []

    finished = LocalLink().run(python(program), silence_s=1.5, on_line=lines.append)

    assert finished.exit_code == 0
    assert lines == [f"step {step}" for step in range(8)]


def test_a_program_that_is_not_there_is_a_device_error() -> None:
    with pytest.raises(DeviceError, match="cannot start /no/such: no such file or directory"):
        LocalLink().run(["/no/such"])


def test_what_lies_here_is_pushed_by_staying_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"content")
    monkeypatch.chdir(tmp_path)

    there = LocalLink().push(Path("file"), sha256="0" * 64)
    LocalLink().clean()

    assert there == str(tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == b"content"


@pytest.mark.parametrize("link", [LocalLink(), FakeLink(lambda _: pytest.fail("nothing to run"))])
def test_what_was_pushed_can_be_pulled(link: Link, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")

    link.pull(link.push(tmp_path / "file", sha256="0" * 64), tmp_path / "copy")

    assert (tmp_path / "copy").read_bytes() == b"content"


@pytest.mark.parametrize("link", [LocalLink(), FakeLink(lambda _: pytest.fail("nothing to run"))])
def test_what_is_not_there_is_a_device_error_and_leaves_nothing(link: Link, tmp_path: Path) -> None:
    (tmp_path / "copy").write_bytes(b"of before")

    with pytest.raises(DeviceError, match="cannot fetch /no/such: no such file"):
        link.pull("/no/such", tmp_path / "copy")
    assert [path.name for path in tmp_path.iterdir()] == ["copy"]
    assert (tmp_path / "copy").read_bytes() == b"of before"


def test_the_tuning_of_a_shell_is_not_part_of_a_measurement(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MALLOC_ARENA_MAX", "REEFL_EDGE_HOME"):
        monkeypatch.setenv(name, "1")

    environment = _environment()

    assert "REEFL_EDGE_HOME" in environment
    tuning = {"OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MALLOC_ARENA_MAX"}
    assert not tuning & environment.keys()


def test_this_machine_can_always_be_measured() -> None:
    link = link_for("local")

    assert link.name == "local"
    assert link.is_real_hardware


def test_a_known_device_without_a_link_is_a_device_error() -> None:
    with pytest.raises(DeviceError, match="there is no link to Apple iPhone 15"):
        link_for("iphone15")


def test_a_board_without_its_address_is_a_device_error() -> None:
    with pytest.raises(DeviceError, match="Raspberry Pi 5 is reached by ssh: say where it is, --d"):
        link_for("rpi5")


def test_threads_are_held_to_the_cores_of_the_device_and_not_of_this_machine() -> None:
    host = replace(describe_host(), num_cores=512, num_usable_cores=500, clusters=())

    assert host.threads(None) == 500
    assert host.threads(512) == 512
    with pytest.raises(ValueError, match="from 1 to 512, the cores there, got 513"):
        host.threads(513)


def test_without_a_wish_there_is_a_thread_for_each_fast_core() -> None:
    fast = CoreCluster(cores=(4, 5, 6, 7), capacity=1024)
    small = CoreCluster(cores=(0, 1, 2, 3), capacity=300)
    host = replace(describe_host(), num_cores=8, num_usable_cores=8, clusters=(fast, small))

    assert host.threads(None) == 4
    assert host.cores_for(2) == (4, 5)
    assert host.cores_for(6) == (4, 5, 6, 7, 0, 1)
    assert replace(host, clusters=()).cores_for(2) is None


def test_a_host_need_not_have_python() -> None:
    host = Host(
        os="Android 14",
        arch="aarch64",
        cpu_name="a phone's",
        cpu_features=(),
        num_cores=8,
        num_usable_cores=8,
        memory_total_mib=8192,
    )

    assert host.python_version is None
    assert host.packages == {}

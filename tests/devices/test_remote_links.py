"""What every link to a device that is not this machine does, through the real clients."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from reefl_edge.devices.host import describe_host
from reefl_edge.devices.links.shell import ShellLink
from reefl_edge.errors import DeviceError, InputError
from tests.remotes import Remote

SHA = "0123456789abcdef" * 4

# Holds a device and runs something endless on it, as a command of ours does.
ENDLESS = """
import sys
from pathlib import Path
from reefl_edge.devices.links.{kind} import {kind}_link as opened
from tests.agents import stand_in
link = opened(sys.argv[1], agent_for=stand_in(Path(sys.argv[2])))
with link.held(), link.scratch():
    print("held", flush=True)
    link.run(("sleep", "600"))
"""


def python(link: ShellLink, program: str) -> tuple[str, ...]:
    return (*link.python, "-c", program)


def test_a_device_says_what_it_is_before_anything_is_put_there(remote: Remote) -> None:
    host = remote.open().describe()

    here = describe_host()
    assert host.arch == here.arch
    assert host.num_cores == here.num_cores
    assert host.num_usable_cores == len(os.sched_getaffinity(0))
    assert host.memory_total_mib == here.memory_total_mib
    assert set(host.cpu_features) & set(here.cpu_features)  # some go by several names
    assert host.load_average is not None


def test_a_process_there_gets_its_input_and_leaves_what_it_wrote(remote: Remote) -> None:
    link = remote.open()
    program = (
        "import sys\n"
        "sys.stdout.buffer.write(sys.stdin.buffer.read()[::-1])\n"
        "sys.stderr.write('aside')\n"
        "sys.exit(7)\n"
    )
    every_byte = bytes(range(256)) * 3000

    with link.held():
        finished = link.run(python(link, program), stdin=every_byte)

    assert (finished.exit_code, finished.stdout) == (7, every_byte[::-1])
    assert finished.stderr == b"aside"


def test_arguments_arrive_there_as_they_are(remote: Remote) -> None:
    link = remote.open()
    odd = "a b'c\"$HOME;*\n\\x"

    with link.held():
        finished = link.run((*python(link, "import sys; print(sys.argv[1])"), odd))

    assert finished.stdout.decode() == f"{odd}\n"


def test_a_signal_there_is_a_negative_exit_code(remote: Remote) -> None:
    link = remote.open()

    with link.held():
        finished = link.run(("sh", "-c", "kill -SEGV $$"))

    assert finished.exit_code == -signal.SIGSEGV


def test_a_process_there_that_takes_too_long_is_ended(remote: Remote) -> None:
    link = remote.open()

    with link.held():
        with pytest.raises(TimeoutError, match=r"took longer than 0\.5 s"):
            link.run(("sleep", "600"), timeout_s=0.5)

        assert remote.is_idle()
        assert list((remote.root / "runs").iterdir()) == []


def test_what_a_process_there_has_started_ends_with_it(remote: Remote) -> None:
    link = remote.open()

    with link.held():
        link.run(("sh", "-c", "sleep 600 & exit 0"))

        assert remote.is_idle()


def test_a_file_that_is_there_is_not_sent_again(remote: Remote, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(os.urandom(100_000))

    with (link := remote.open()).held():
        there = link.push(path, sha256=SHA)
    path.write_bytes(b"other content, of the same name")
    with (link := remote.open()).held():
        again = link.push(path, sha256=SHA)
        link.pull(again, tmp_path / "copy")

    assert there == again
    assert there.endswith(f"{SHA}.safetensors")
    assert (tmp_path / "copy").stat().st_size == 100_000
    remote.open().clean()


def test_what_is_sent_is_looked_at_first_and_what_is_there_is_not(
    remote: Remote, tmp_path: Path
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"content")

    def refuse() -> None:
        raise InputError("it is damaged")

    with (link := remote.open()).held():
        with pytest.raises(InputError, match="it is damaged"):
            link.push(path, sha256=SHA, before_sending=refuse)
        assert list((remote.root / "files").iterdir()) == []
        there = link.push(path, sha256=SHA)
    with (link := remote.open()).held():
        assert link.push(path, sha256=SHA, before_sending=refuse) == there
    remote.open().clean()


def test_a_folder_arrives_with_all_its_files(remote: Remote, tmp_path: Path) -> None:
    (tmp_path / "folder" / "deeper").mkdir(parents=True)
    (tmp_path / "folder" / "a b").write_bytes(b"first")
    (tmp_path / "folder" / "deeper" / "second").write_bytes(b"")

    with (link := remote.open()).held():
        there = link.push(tmp_path / "folder", sha256=SHA)
        link.pull(f"{there}/a b", tmp_path / "first")
        link.pull(f"{there}/deeper/second", tmp_path / "second")

    assert (tmp_path / "first").read_bytes() == b"first"
    assert (tmp_path / "second").read_bytes() == b""
    remote.open().clean()


def test_what_is_not_there_leaves_nothing_here(remote: Remote, tmp_path: Path) -> None:
    (tmp_path / "copy").write_bytes(b"of before")

    with (
        (link := remote.open()).held(),
        pytest.raises(DeviceError, match=r"cannot fetch /no/such from .*[Nn]o such file"),
    ):
        link.pull("/no/such", tmp_path / "copy")

    assert [path.name for path in tmp_path.iterdir()] == ["copy"]
    assert (tmp_path / "copy").read_bytes() == b"of before"


def test_a_scratch_folder_is_gone_afterwards(remote: Remote, tmp_path: Path) -> None:
    with (link := remote.open()).held():
        with link.scratch() as folder:
            link.run(("sh", "-c", 'echo left >"$0/file"', folder))
            link.pull(f"{folder}/file", tmp_path / "file")

        assert list((remote.root / "runs").iterdir()) == []
    assert (tmp_path / "file").read_text() == "left\n"


def test_what_is_pushed_into_a_scratch_folder_goes_with_it(remote: Remote, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")

    with (link := remote.open()).held():
        with link.scratch() as folder:
            there = link.push(tmp_path / "file", sha256=SHA, into=folder)
            link.pull(there, tmp_path / "copy")
        assert list((remote.root / "runs").iterdir()) == []
        assert list((remote.root / "files").iterdir()) == []
    assert (tmp_path / "copy").read_bytes() == b"content"


def test_one_at_a_time_and_the_other_is_named(remote: Remote) -> None:
    with (
        remote.open().held(),
        pytest.raises(DeviceError, match=rf"is at work for \w+ on .*, process {os.getpid()} since"),
        remote.open().held(),
    ):
        pass

    with remote.open().held():  # it was given back
        pass


def test_clean_leaves_nothing_of_ours(remote: Remote, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    with (link := remote.open()).held():
        link.push(tmp_path / "file", sha256=SHA)

    remote.open().clean()

    assert [path.name for path in remote.root.iterdir()] == ["lock"]
    with remote.open().held():  # it can be used again
        pass


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_runs_on_there_when_we_are_gone(
    remote: Remote, tmp_path: Path, number: signal.Signals
) -> None:
    program = ENDLESS.format(kind=remote.kind)
    target = remote.open().name.partition(":")[2]
    with subprocess.Popen(
        [sys.executable, "-c", program, target, str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as command:
        assert command.stdout is not None
        assert command.stdout.readline() == b"held\n"
        end = time.monotonic() + 60
        while not remote.jobs() and time.monotonic() < end:
            time.sleep(0.02)
        command.send_signal(number)
        command.wait()

    assert remote.is_idle()
    with remote.open().held():  # and the device is free again
        assert list((remote.root / "runs").iterdir()) == []

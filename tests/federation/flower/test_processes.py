"""What we start of Flower ends with us, and so does whatever it started itself."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from reefl_edge.errors import FederationError
from reefl_edge.federation.flower.processes import check_port, free_port, running
from tests.processes import is_gone

# As a SuperLink does: it starts another in a session of its own, which starts one more. Nobody
# collects anybody, and all of them would rather stay.
STUBBORN = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.signal(signal.SIGINT, signal.SIG_IGN)
folder, generation = sys.argv[1], int(sys.argv[2])
if generation < 2:
    again = [sys.executable, __file__, folder, str(generation + 1)]
    subprocess.Popen(again, start_new_session=True)
open(os.path.join(folder, str(generation)), "w").write(str(os.getpid()))
if generation == 1:
    sys.exit()  # its child is an orphan
time.sleep(600)
"""
# What `federate run` does.
STARTING = """
import os, sys, time
from pathlib import Path
from reefl_edge.federation.flower.processes import running
with running(sys.argv[2:], environment=os.environ, log=Path(sys.argv[1])):
    print("ready", flush=True)
    time.sleep(600)
"""


def stubborn_family(folder: Path) -> list[psutil.Process]:
    """Wait until the program, the one it started, and the orphan have said who they are."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        texts = [(folder / str(each)) for each in (0, 2)]
        if all(text.exists() and text.read_text() for text in texts):
            return [psutil.Process(int(text.read_text())) for text in texts]
        time.sleep(0.01)
    raise AssertionError("the program did not start")


@pytest.fixture
def stubborn(tmp_path: Path) -> list[str]:
    """Return a command that starts a family which nobody asks to end in vain."""
    script = tmp_path / "stubborn.py"
    script.write_text(STUBBORN)
    return [sys.executable, str(script), str(tmp_path), "0"]


def test_nothing_is_left_when_the_block_ends(stubborn: list[str], tmp_path: Path) -> None:
    with running(stubborn, environment=os.environ, log=tmp_path / "log"):
        family = stubborn_family(tmp_path)

    assert all(is_gone(each) for each in family)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_nothing_is_left_when_we_are_stopped(
    number: signal.Signals, stubborn: list[str], tmp_path: Path
) -> None:
    command = [sys.executable, "-c", STARTING, str(tmp_path / "log"), *stubborn]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as us:
        assert us.stdout is not None
        assert us.stdout.readline() == b"ready\n"
        family = stubborn_family(tmp_path)

        us.send_signal(number)

        assert all(is_gone(each) for each in family)


def test_what_a_program_says_and_how_it_ended_can_be_read(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import sys; print('in', end='', flush=True); sys.exit(7)"]

    with running(command, environment=os.environ, log=tmp_path / "log") as process:
        assert process.wait(timeout=60) == 7

    assert (tmp_path / "log").read_text() == "in"


def test_a_port_that_somebody_listens_on_is_refused() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        pytest.raises(FederationError, match=r"cannot listen on 127.0.0.1:\d+: .*in use"),
    ):
        check_port("127.0.0.1", server.getsockname()[1])


def test_a_free_port_can_be_listened_on() -> None:
    check_port("127.0.0.1", free_port())

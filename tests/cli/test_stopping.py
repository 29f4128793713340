"""What does a command answer that is stopped, or whose output nobody reads? Real processes."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

_SLOW_DEVICES = """
import sys, time
from reefl_edge import __main__
from reefl_edge.devices import host

def describe_host():
    print("ready", flush=True)
    time.sleep(600)

host.describe_host = describe_host
sys.argv = ["reefl-edge", "devices"]
__main__.main()
"""
_SLOW_TYPER = "import time\nprint('ready', flush=True)\ntime.sleep(600)\n"


def stopped_by(
    number: signal.Signals, arguments: Sequence[str], environment: dict[str, str]
) -> tuple[int, str]:
    """Start Python, send a signal once it says it is ready; return its exit code and stderr."""
    process = subprocess.Popen(
        [sys.executable, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    _, told = process.communicate()
    return process.returncode, told


SIGNALS = [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]


@pytest.mark.parametrize(("number", "exit_code", "word"), SIGNALS)
def test_a_command_that_is_stopped_says_so_in_one_line(
    number: signal.Signals, exit_code: int, word: str
) -> None:
    code, told = stopped_by(number, ["-c", _SLOW_DEVICES], {})

    assert (code, told) == (exit_code, f"error: {word}; nothing was left half-written\n")


@pytest.mark.parametrize(("number", "exit_code", "word"), SIGNALS)
def test_so_does_one_that_is_still_loading(
    number: signal.Signals, exit_code: int, word: str, tmp_path: Path
) -> None:
    (tmp_path / "typer.py").write_text(_SLOW_TYPER)

    code, told = stopped_by(number, ["-m", "reefl_edge"], {"PYTHONPATH": str(tmp_path)})

    assert (code, told) == (exit_code, f"error: {word}; nothing was left half-written\n")


_SWALLOWS_INTERRUPTS = """
import sys, time
from reefl_edge import __main__
from reefl_edge.devices import host

def describe_host():
    try:
        print("ready", flush=True)
        time.sleep(600)
    except KeyboardInterrupt as interrupt:  # as an extension module does that is being loaded
        raise {} from interrupt

host.describe_host = describe_host
sys.argv = ["reefl-edge", "devices"]
__main__.main()
"""


@pytest.mark.parametrize("becomes", ["ImportError('initialization failed')", "SystemExit(130)"])
@pytest.mark.parametrize(("number", "exit_code", "word"), SIGNALS)
def test_an_interrupt_is_answered_whatever_became_of_it_on_its_way(
    number: signal.Signals, exit_code: int, word: str, becomes: str
) -> None:
    code, told = stopped_by(number, ["-c", _SWALLOWS_INTERRUPTS.format(becomes)], {})

    assert (code, told) == (exit_code, f"error: {word}; nothing was left half-written\n")


def run(*arguments: str, stdout: int, shell_suffix: str = "") -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["sh", "-c", f'"$@" {shell_suffix}', "sh", sys.executable, "-m", "reefl_edge", *arguments],
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("command", [("devices",), ("devices", "--json")])
def test_a_reader_who_has_seen_enough_is_no_error_to_speak_of(command: tuple[str, ...]) -> None:
    reader, writer = os.pipe()
    os.close(reader)

    typed = run(*command, stdout=writer)
    os.close(writer)

    assert typed.returncode == 141
    assert "Traceback" not in typed.stderr
    assert "error" not in typed.stderr.lower()


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", ">&- 2>&- <&-"])
def test_a_closed_stream_does_no_harm(closed: str) -> None:
    typed = run("devices", "--json", stdout=subprocess.PIPE, shell_suffix=closed)

    assert typed.returncode == 0
    assert "Traceback" not in typed.stderr
    if ">&-" not in closed.replace("2>&-", ""):
        assert json.loads(typed.stdout)["local"]


@pytest.mark.parametrize("command", [("devices",), ("devices", "--json"), ("--help",)])
def test_results_that_find_no_room_are_an_error(command: tuple[str, ...]) -> None:
    with Path("/dev/full").open("w") as full:
        typed = run(*command, stdout=full.fileno())

    assert typed.returncode == 3
    assert "error: standard output: no space left on device" in typed.stderr
    assert "Traceback" not in typed.stderr


def test_a_file_whose_name_is_no_text_is_classified_as_any(home: Path, tmp_path: Path) -> None:
    name = tmp_path / "a[" / os.fsdecode(b"red]gr\xfcn\n.png")
    name.parent.mkdir()
    name.write_bytes((home / "first.png").read_bytes())
    broken = tmp_path / os.fsdecode(b"\xff.png")
    broken.write_bytes(b"no image")

    for flags in ((), ("--json",)):
        typed = run(
            "infer", str(home / "bundle"), os.fspath(name), os.fspath(broken), *flags,
            stdout=subprocess.PIPE,
        )  # fmt: skip

        assert typed.returncode == 3  # of the broken one
        assert "Traceback" not in typed.stderr
        assert "\\udcff.png: not a readable image" in typed.stderr
        assert len([line for line in typed.stderr.splitlines() if line.startswith("error")]) == 1
    assert json.loads(typed.stdout)["predictions"][0]["input"] == str(name)

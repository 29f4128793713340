"""A process does not outlive whoever started it, however that ended."""

import os
import subprocess
import sys

import psutil
import pytest

from tests.processes import is_gone

# What LocalLink does, with a child that does nothing else.
PARENT = """
import subprocess, sys
from reefl_edge.devices.links.lifeline import lifeline
with lifeline() as end:
    child = [sys.executable, "-c", sys.argv[1], str(end)]
    subprocess.run(child, pass_fds=(end,), input=b"", stdout=sys.stdout)
"""
CHILD = """
import sys, time
from reefl_edge.devices.links import lifeline
lifeline.{way}(int(sys.argv[1]))
print("ready", flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize(
    "way",
    [
        pytest.param(
            "die_by_signal",
            marks=pytest.mark.skipif(sys.platform != "linux", reason="only Linux sends it"),
        ),
        "die_by_pipe",
        "die_with_parent",
    ],
)
def test_a_process_ends_when_its_parent_is_killed(way: str) -> None:
    command = [sys.executable, "-c", PARENT, CHILD.format(way=way)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"ready\n"
        (child,) = psutil.Process(parent.pid).children()

        parent.kill()

        assert is_gone(child)


@pytest.mark.parametrize("way", ["die_by_signal", "die_by_pipe"])
def test_a_parent_that_is_gone_already_counts_too(way: str) -> None:
    if way == "die_by_signal" and sys.platform != "linux":
        pytest.skip("only Linux sends it")
    child_end, parent_end = os.pipe()
    os.close(parent_end)

    ended = subprocess.run(
        [sys.executable, "-c", CHILD.format(way=way), str(child_end)],
        pass_fds=(child_end,),
        timeout=60,
        check=False,
    )
    os.close(child_end)

    assert ended.returncode == 1

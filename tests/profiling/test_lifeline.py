"""A measuring process does not outlive whoever started it, however that ended."""

import os
import subprocess
import sys

import psutil
import pytest

from reefl_edge import schema
from reefl_edge.manifest import Bundle
from reefl_edge.profiling.job import BundleFolder, Plan
from reefl_edge.profiling.measure import inference_jobs
from tests.profiling.processes import is_gone, worker_of

ENDLESS = Plan(warmup_runs=0, min_samples=1, min_seconds=600, max_seconds=600)

# What LocalLink does, with a child that does nothing else.
PARENT = """
import subprocess, sys
from reefl_edge.profiling.lifeline import lifeline
with lifeline() as end:
    child = [sys.executable, "-c", sys.argv[1], str(end)]
    subprocess.run(child, pass_fds=(end,), input=b"", stdout=sys.stdout)
"""
CHILD = """
import sys, time
from reefl_edge.profiling import lifeline
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


def test_a_killed_profile_leaves_no_measuring_process(onnx_bundle: Bundle) -> None:
    source = BundleFolder(bundle=onnx_bundle.directory)
    job = inference_jobs(
        onnx_bundle.manifest.submodel, source, runtime="onnx", threads=1, plan=ENDLESS
    )[0]
    program = (
        "import sys\n"
        "from reefl_edge import schema\n"
        "from reefl_edge.profiling.job import Job\n"
        "from reefl_edge.profiling.links.local import LocalLink\n"
        "LocalLink().run(schema.from_json(Job, sys.argv[1], source='the job'))\n"
    )
    with subprocess.Popen([sys.executable, "-c", program, schema.to_json(job)]) as parent:
        try:
            worker = worker_of(psutil.Process(parent.pid))
        finally:
            parent.kill()

        assert is_gone(worker)

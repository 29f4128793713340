"""The arm64 agent, emulated: it starts, answers and trains as this machine does.

``make test-arm64``. Only the agent's own loader is emulated, and whatever it starts; its start
script runs as it is.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from reefl_edge import schema
from reefl_edge.agent.agent import Agent
from reefl_edge.bundles.bundle import Bundle
from reefl_edge.jobs.job import Plan
from reefl_edge.jobs.outcome import Measured, read_outcome
from reefl_edge.jobs.running import WORKER
from reefl_edge.jobs.sources import BundleFolder
from reefl_edge.profiling.measure import inference_jobs
from tests.agent import answers
from tests.built_agents import built_agent
from tests.fakes.trainable import labelled_images, trainable_bundle

QEMU = shutil.which("qemu-aarch64-static")
pytestmark = [
    pytest.mark.skipif(
        not os.environ.get("REEFL_EDGE_ARM64"), reason="emulates another machine: make test-arm64"
    ),
    pytest.mark.skipif(QEMU is None, reason="not installed: qemu-user-static"),
]

ANSWERS = Path(answers.__file__)
ONCE = Plan(warmup_runs=0, min_samples=1, min_seconds=0, max_seconds=600)
# What onnxruntime reads of the processor; this machine's would be no Arm's.
# Source: a Raspberry Pi 4's /proc/cpuinfo.
_CPUINFO = """\
processor\t: 0
BogoMIPS\t: 108.00
Features\t: fp asimd evtstrm crc32 cpuid
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x0
CPU part\t: 0xd08
CPU revision\t: 3
"""


@pytest.fixture(scope="module")
def start(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The start script of the arm64 agent, whose loader is started by qemu."""
    agent: Agent = built_agent(pytestconfig, machine="aarch64")
    folder = tmp_path_factory.mktemp("arm64")
    (folder / "root" / "proc").mkdir(parents=True)
    (folder / "root" / "proc" / "cpuinfo").write_text(_CPUINFO)
    shutil.copytree(agent.folder, folder / "agent", copy_function=os.link)
    loader = folder / "agent" / "lib" / "ld-linux-aarch64.so.1"
    loader.rename(loader.with_suffix(".arm64"))
    loader.write_text(
        f'#!/bin/sh\nexec {QEMU} -L {folder}/root {loader.with_suffix(".arm64")} "$@"\n'
    )
    loader.chmod(0o755)
    return folder / "agent" / "run"


@pytest.fixture(scope="module")
def trainable(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return trainable_bundle(tmp_path_factory.mktemp("bundles"))


def test_it_answers_and_trains_as_this_machine_does(
    start: Path, trainable: Bundle, tmp_path: Path
) -> None:
    data = labelled_images(tmp_path / "data.npz")
    here, there = tmp_path / "here.npz", tmp_path / "there.npz"
    subprocess.run(
        [sys.executable, *map(str, (ANSWERS, trainable.directory, data, here))], check=True
    )

    subprocess.run(
        [*map(str, (start, "-c", ANSWERS.read_text(), trainable.directory, data, there))],
        check=True,
    )

    with np.load(here) as expected, np.load(there) as actual:
        assert set(actual) == set(expected)
        np.testing.assert_array_equal(actual["exit_indices"], expected["exit_indices"])
        for name, array in expected.items():
            np.testing.assert_allclose(actual[name], array, atol=1e-5, err_msg=name)


def test_its_worker_does_a_job(start: Path, trainable: Bundle) -> None:
    source = BundleFolder.of(trainable.directory)
    job = inference_jobs(trainable.manifest.submodel, source, runtime="onnx", threads=1, plan=ONCE)[
        -1
    ]

    ran = subprocess.run(
        [str(start), "-m", WORKER, f"{source.sha256}={trainable.directory}"],
        input=schema.to_json(job).encode(), capture_output=True, check=True,
    )  # fmt: skip

    assert isinstance(read_outcome(ran.stdout, source="the agent"), Measured)

"""What happens inside a measuring process."""

import os
import subprocess
import sys
from dataclasses import replace
from hashlib import sha256
from itertools import count
from pathlib import Path

import numpy as np
import pytest

from reefl_edge import schema
from reefl_edge.bundles.bundle import Bundle
from reefl_edge.devices.links.local import LocalLink
from reefl_edge.errors import DeviceError
from reefl_edge.jobs import memory
from reefl_edge.jobs.job import Plan
from reefl_edge.jobs.outcome import Failed, read_outcome
from reefl_edge.jobs.running import WORKER, run_job
from reefl_edge.jobs.sources import BundleFolder
from reefl_edge.jobs.worker import sample, warm_up
from reefl_edge.jobs.workloads import random_images
from reefl_edge.profiling.measure import inference_jobs

GOLDEN_JOBS = Path(__file__).parents[1] / "golden" / "job" / "valid"
FEW = Plan(warmup_runs=1, min_samples=3, min_seconds=0, max_seconds=60)


def test_warm_up_runs_give_no_samples() -> None:
    runs = count()

    warm_up(lambda: next(runs), FEW)
    timings = sample(lambda: next(runs), FEW)

    assert len(timings) == 3
    assert next(runs) == 4
    assert all(timing.wall_ms >= 0 and timing.cpu_ms >= 0 for timing in timings)


def test_a_minimum_of_time_brings_more_samples() -> None:
    plan = Plan(warmup_runs=0, min_samples=1, min_seconds=0.05, max_seconds=60)

    assert len(sample(lambda: None, plan)) > 1


def test_one_sample_is_taken_even_without_time() -> None:
    plan = Plan(warmup_runs=5, min_samples=10, min_seconds=0, max_seconds=0)

    assert len(sample(lambda: None, plan)) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux forgets a peak")
def test_the_peak_counts_from_its_reset_and_remembers_what_was_freed() -> None:
    memory.reset_peak()
    baseline_mib = memory.resident_mib()

    array = np.ones(2**23)  # 64 MiB
    del array
    peak_mib = memory.peak_mib()
    memory.reset_peak()

    assert peak_mib - baseline_mib > 60
    assert memory.peak_mib() < peak_mib - 60


def test_images_are_smooth_and_fit_the_network() -> None:
    images = random_images(2, 32)

    assert images.shape == (2, 32, 32, 3)
    assert images.dtype == np.uint8
    assert images.std() > 10
    neighbours = np.abs(np.diff(images.astype(int), axis=1)).mean()
    assert neighbours < images.std() / 2


def test_cores_that_a_process_may_not_use_are_a_device_error(onnx_bundle: Bundle) -> None:
    source = BundleFolder.of(onnx_bundle.directory)
    submodel = onnx_bundle.manifest.submodel
    job = inference_jobs(submodel, source, runtime="onnx", threads=1, plan=FEW, cores=(100_000,))[0]

    with pytest.raises(DeviceError, match=r"may not compute on cores \(100000,\) there"):
        run_job(LocalLink(), job, {source.sha256: onnx_bundle.directory})


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts it")
def test_a_measurement_says_what_happened_beside_its_samples(onnx_bundle: Bundle) -> None:
    source = BundleFolder.of(onnx_bundle.directory)
    submodel = onnx_bundle.manifest.submodel
    plan = replace(FEW, min_seconds=0.3)
    core = min(os.sched_getaffinity(0))
    job = inference_jobs(submodel, source, runtime="onnx", threads=1, plan=plan, cores=(core,))[0]

    found = run_job(LocalLink(), job, {source.sha256: onnx_bundle.directory})

    assert found.wait_ms_samples is not None
    assert [sitting.num_samples for sitting in found.sittings] == [len(found.wait_ms_samples)]
    assert found.sittings[0].disturbances.others_share is not None
    assert found.sittings[0].load_ms == found.load_ms


@pytest.mark.parametrize("kind", ["finetune", "infer"])
def test_a_job_without_its_files_is_an_error_of_its_input(kind: str) -> None:
    job = (GOLDEN_JOBS / f"{kind}.json").read_bytes()
    link = LocalLink()

    finished = link.run([*link.python, "-m", WORKER], stdin=job)

    outcome = read_outcome(finished.stdout, source="the outcome")
    assert isinstance(outcome, Failed)
    assert outcome.code == "input"
    assert "which did not come with it" in outcome.message
    assert outcome.job_sha256 == sha256(job).hexdigest()


def test_what_native_code_prints_does_not_reach_the_outcome() -> None:
    program = (
        "import os\n"
        "from reefl_edge.jobs.worker import _result_stream\n"
        "with _result_stream() as results:\n"
        "    os.write(1, b'noise')\n"
        "    results.write(b'outcome')\n"
    )

    process = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)

    assert process.stdout == b"outcome"
    assert process.stderr == b"noise"


def test_measuring_onnxruntime_imports_no_torch(onnx_bundle: Bundle) -> None:
    source = BundleFolder.of(onnx_bundle.directory)
    submodel = onnx_bundle.manifest.submodel
    job = inference_jobs(submodel, source, runtime="onnx", threads=1, plan=FEW)[-1]
    program = (
        "import sys\n"
        "from reefl_edge.jobs.job import read_job\n"
        "from reefl_edge.jobs.worker import files_in, measure\n"
        "measure(read_job(sys.argv[1], source='the job'), files_in(sys.argv[2:]))\n"
        "print('torch' in sys.modules)\n"
    )

    process = subprocess.run(
        [
            *(sys.executable, "-c", program, schema.to_json(job)),
            f"{source.sha256}={onnx_bundle.directory}",
        ],
        capture_output=True,
        check=True,
    )

    assert process.stdout.decode().strip() == "False"

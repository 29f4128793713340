"""Real measuring processes on this machine."""

import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from reefl_edge import schema
from reefl_edge.errors import DeviceError, InputError, MeasurementError
from reefl_edge.manifest import Bundle
from reefl_edge.models.checkpoint import random_network, save_checkpoint
from reefl_edge.profiling.job import (
    BundleFolder,
    CheckpointFile,
    Job,
    Measurement,
    Plan,
    RandomWeights,
)
from reefl_edge.profiling.links.base import link_for
from reefl_edge.profiling.links.local import LocalLink, _environment, measurement_of
from reefl_edge.profiling.measure import inference_jobs, measure_exits, step_jobs
from tests.fakes import tiny_submodel
from tests.profiling.processes import is_gone, worker_of

FEW = Plan(warmup_runs=1, min_samples=5, min_seconds=0, max_seconds=60)
ENDLESS = Plan(warmup_runs=0, min_samples=1, min_seconds=600, max_seconds=600)


def onnx_jobs(bundle: Bundle, plan: Plan = FEW) -> tuple[Job, ...]:
    source = BundleFolder(bundle=bundle.directory)
    return inference_jobs(bundle.manifest.submodel, source, runtime="onnx", threads=1, plan=plan)


def check(measurement: Measurement) -> None:
    assert len(measurement.latency_ms_samples) == len(measurement.cpu_ms_samples) == 5
    assert min(measurement.latency_ms_samples) > 0
    assert measurement.load_ms > 0
    assert measurement.first_run_ms > 0
    assert 0 < measurement.baseline_mib <= measurement.peak_mib


def test_every_exit_of_a_bundle_is_measured(onnx_bundle: Bundle) -> None:
    rows = measure_exits(LocalLink(), onnx_jobs(onnx_bundle))

    assert [(row.device, row.runtime, row.exit_index) for row in rows] == [
        ("local", "onnx", 0),
        ("local", "onnx", 1),
    ]
    for row in rows:
        check(row.measurement)


def test_inference_of_a_checkpoint_is_measured_at_a_shallower_exit(tmp_path: Path) -> None:
    path = tmp_path / "tiny.safetensors"
    save_checkpoint(random_network(tiny_submodel(), seed=0), path)
    source = CheckpointFile(checkpoint=path)
    job = inference_jobs(tiny_submodel(), source, runtime="eager", threads=1, plan=FEW)[0]

    check(LocalLink().run(job))


def test_a_fine_tuning_step_is_measured() -> None:
    submodel = replace(tiny_submodel(), regime="frozen")

    check(
        LocalLink().run(step_jobs(submodel, RandomWeights(), threads=1, batch_size=2, plan=FEW)[-1])
    )


def test_an_error_of_the_process_keeps_its_kind_and_its_words(tmp_path: Path) -> None:
    job = inference_jobs(
        tiny_submodel(), BundleFolder(bundle=tmp_path), runtime="onnx", threads=1, plan=FEW
    )[0]

    with pytest.raises(InputError, match=r"is not a bundle: it has no manifest\.json"):
        LocalLink().run(job)


def test_a_crash_of_the_process_is_told_in_one_line(onnx_bundle: Bundle) -> None:
    four_exits = tiny_submodel(num_exits=4)
    source = BundleFolder(bundle=onnx_bundle.directory)
    job = inference_jobs(four_exits, source, runtime="onnx", threads=1, plan=FEW)[-1]

    with pytest.raises(MeasurementError) as caught:
        LocalLink().run(job)
    assert str(caught.value) == (
        "the measuring process failed: ValueError: no exit 3: choose one of 0 to 1, "
        "the network's exits"
    )


def test_a_killed_process_is_told_from_a_failed_one(onnx_bundle: Bundle) -> None:
    with ThreadPoolExecutor(1) as pool:
        measuring = pool.submit(LocalLink().run, onnx_jobs(onnx_bundle, ENDLESS)[0])
        worker_of(psutil.Process()).kill()

        with pytest.raises(MeasurementError) as caught:
            measuring.result()
    assert str(caught.value) == (
        "the measuring process was killed by SIGKILL, as happens when memory runs out"
    )


def test_ctrl_c_ends_the_measuring_process_too(onnx_bundle: Bundle) -> None:
    program = (
        "import sys\n"
        "from reefl_edge import schema\n"
        "from reefl_edge.profiling.job import Job\n"
        "from reefl_edge.profiling.links.local import LocalLink\n"
        "LocalLink().run(schema.from_json(Job, sys.argv[1], source='the job'))\n"
    )
    job = schema.to_json(onnx_jobs(onnx_bundle, ENDLESS)[0])
    with subprocess.Popen([sys.executable, "-c", program, job], stderr=subprocess.PIPE) as parent:
        worker = worker_of(psutil.Process(parent.pid))
        parent.send_signal(signal.SIGINT)
        _, stderr = parent.communicate()

    assert b"KeyboardInterrupt" in stderr
    assert is_gone(worker)


@pytest.mark.parametrize(
    ("returncode", "stdout", "stderr", "message"),
    [
        (0, b"", b"", "the measuring process failed: exit code 0"),
        (0, b"Segmentation", b"", "what the measuring process wrote: not a JSON file"),
        (0, b"\xff\xfe", b"", "what the measuring process wrote is not a text in UTF-8"),
        (0, b"{}", b"", "an outcome is a measurement or a failure"),
        (0, b'{"failure": {"kind": "Odd", "message": "no luck"}}', b"", "no luck"),
        (1, b"", b"Traceback\n  line\nValueError: \xff no\n\n", "failed: ValueError: \ufffd no"),
        (-signal.SIGSEGV, b"", b"", "was killed by SIGSEGV"),
        (-47, b"", b"", "was killed by signal 47"),
    ],
)
def test_whatever_a_measuring_process_leaves_is_told_in_one_line(
    returncode: int, stdout: bytes, stderr: bytes, message: str
) -> None:
    with pytest.raises(MeasurementError) as caught:
        measurement_of(returncode, stdout, stderr)

    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_where_the_user_stands_are_not_imported(
    onnx_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "platform.py").write_text("raise SystemExit('imported')")
    monkeypatch.chdir(tmp_path)

    check(LocalLink().run(onnx_jobs(onnx_bundle)[0]))


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
    assert link.is_available()


def test_a_known_device_without_a_link_is_a_device_error() -> None:
    with pytest.raises(DeviceError, match=r"pixel7 \(Google Pixel 7\) cannot be reached"):
        link_for("pixel7")

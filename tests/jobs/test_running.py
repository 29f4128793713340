"""From a job to a measurement: real processes on this machine, and a device that is none."""

import re
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import get_args

import psutil
import pytest

from reefl_edge import schema
from reefl_edge.bundles.bundle import Bundle
from reefl_edge.devices.links.base import Finished
from reefl_edge.devices.links.local import LocalLink
from reefl_edge.errors import (
    DeviceError,
    FederationError,
    InputError,
    MeasurementError,
    ReeflEdgeError,
)
from reefl_edge.files import sha256_of_file
from reefl_edge.jobs.job import FinetuneJob, InferenceJob, Job, Plan, read_job
from reefl_edge.jobs.outcome import Failed, FailureCode, Measurement
from reefl_edge.jobs.running import run_job, run_training
from reefl_edge.jobs.sources import BundleFolder, CheckpointFile, Files, RandomWeights
from reefl_edge.models.arrays import random_network
from reefl_edge.models.checkpoint import save_checkpoint
from reefl_edge.profiling.measure import inference_jobs, step_jobs
from reefl_edge.profiling.passes import Meter
from tests.fakes.devices import FakeLink
from tests.fakes.jobs import answering_link, counting_link, ended
from tests.fakes.submodels import tiny_submodel
from tests.processes import is_gone, worker_of

_GOLDEN = Path(__file__).parents[1] / "golden" / "job" / "valid"

FEW = Plan(warmup_runs=1, min_samples=5, min_seconds=0, max_seconds=60)
ENDLESS = Plan(warmup_runs=0, min_samples=1, min_seconds=600, max_seconds=600)


def onnx_jobs(bundle: Bundle, plan: Plan = FEW) -> tuple[InferenceJob, ...]:
    source = BundleFolder.of(bundle.directory)
    return inference_jobs(bundle.manifest.submodel, source, runtime="onnx", threads=1, plan=plan)


def files_of(bundle: Bundle) -> Files:
    return {BundleFolder.of(bundle.directory).sha256: bundle.directory}


def endless_command(bundle: Bundle) -> list[str]:
    """Return a command that measures for ever."""
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from reefl_edge.devices.links.local import LocalLink\n"
        "from reefl_edge.jobs.job import read_job\n"
        "from reefl_edge.jobs.running import run_job\n"
        "job = read_job(sys.argv[1], source='the job')\n"
        "run_job(LocalLink(), job, {job.source.sha256: Path(sys.argv[2])})\n"
    )
    job = schema.to_json(onnx_jobs(bundle, ENDLESS)[0])
    return [sys.executable, "-c", program, job, str(bundle.directory)]


def measure_on(finished: Finished) -> Measurement:
    """Measure on a device whose process ends in a certain way."""
    job = step_jobs(tiny_submodel(), RandomWeights(), threads=1)[0]
    return run_job(FakeLink(lambda _: finished), job, {})


def check(measurement: Measurement) -> None:
    assert len(measurement.latency_ms_samples) == len(measurement.cpu_ms_samples) == 5
    assert min(measurement.latency_ms_samples) > 0
    assert measurement.load_ms > 0
    assert measurement.first_run_ms > 0
    assert 0 < measurement.baseline_mib <= measurement.peak_mib


def test_every_exit_of_a_bundle_is_measured(onnx_bundle: Bundle) -> None:
    rows = Meter(link=LocalLink(), files=files_of(onnx_bundle)).rows(
        onnx_jobs(onnx_bundle), num_passes=1
    )

    assert [(row.device, row.runtime, row.exit_index) for row in rows] == [
        ("local", "onnx", 0),
        ("local", "onnx", 1),
    ]
    for row in rows:
        check(row.measurement)


def test_inference_of_a_checkpoint_is_measured_at_a_shallower_exit(tmp_path: Path) -> None:
    path = tmp_path / "tiny.safetensors"
    save_checkpoint(random_network(tiny_submodel(), seed=0), path)
    source = CheckpointFile.of(path)
    job = inference_jobs(tiny_submodel(), source, runtime="eager", threads=1, plan=FEW)[0]

    check(run_job(LocalLink(), job, {source.sha256: path}))


def test_a_fine_tuning_step_is_measured() -> None:
    submodel = replace(tiny_submodel(), regime="frozen")

    job = step_jobs(submodel, RandomWeights(), threads=1, batch_size=2, plan=FEW)[-1]

    check(run_job(LocalLink(), job, {}))


def test_an_error_of_the_process_keeps_its_kind_and_its_words(tmp_path: Path) -> None:
    source = BundleFolder(sha256="0" * 64)
    job = inference_jobs(tiny_submodel(), source, runtime="onnx", threads=1, plan=FEW)[0]

    with pytest.raises(InputError, match=r"is not a bundle: it has no manifest\.json"):
        run_job(LocalLink(), job, {source.sha256: tmp_path})


def test_a_crash_of_the_process_is_told_in_one_line(onnx_bundle: Bundle) -> None:
    four_exits = tiny_submodel(num_exits=4)
    source = BundleFolder.of(onnx_bundle.directory)
    job = inference_jobs(four_exits, source, runtime="onnx", threads=1, plan=FEW)[-1]

    with pytest.raises(MeasurementError) as caught:
        run_job(LocalLink(), job, files_of(onnx_bundle))
    assert str(caught.value) == (
        "the measuring process failed: ValueError: no exit 3: choose one of 0 to 1, "
        "the network's exits"
    )


def test_a_killed_process_is_told_from_a_failed_one(onnx_bundle: Bundle) -> None:
    with ThreadPoolExecutor(1) as pool:
        job = onnx_jobs(onnx_bundle, ENDLESS)[0]
        measuring = pool.submit(run_job, LocalLink(), job, files_of(onnx_bundle))
        worker_of(psutil.Process()).kill()

        with pytest.raises(MeasurementError) as caught:
            measuring.result()
    assert str(caught.value) == (
        "the measuring process was killed by SIGKILL, as happens when memory runs out"
    )


def test_ctrl_c_ends_the_measuring_process_too(onnx_bundle: Bundle) -> None:
    with subprocess.Popen(endless_command(onnx_bundle), stderr=subprocess.PIPE) as parent:
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
        (0, b"{}", b"", "an outcome is a measurement, a training, answers or a failure"),
        (0, schema.to_json(Failed(code="measurement", message="no luck")).encode(), b"", "no luck"),
        (1, b"", b"Traceback\n  line\nValueError: \xff no\n\n", "failed: ValueError: \ufffd no"),
        (-signal.SIGSEGV, b"", b"", "was killed by SIGSEGV"),
        (-47, b"", b"", "was killed by signal 47"),
    ],
)
def test_whatever_a_measuring_process_leaves_is_told_in_one_line(
    returncode: int, stdout: bytes, stderr: bytes, message: str
) -> None:
    with pytest.raises(MeasurementError) as caught:
        measure_on(Finished(exit_code=returncode, stdout=stdout, stderr=stderr))

    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_where_the_user_stands_are_not_imported(
    onnx_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "platform.py").write_text("raise SystemExit('imported')")
    monkeypatch.chdir(tmp_path)

    check(run_job(LocalLink(), onnx_jobs(onnx_bundle)[0], files_of(onnx_bundle)))


def test_a_killed_profile_leaves_no_measuring_process(onnx_bundle: Bundle) -> None:
    with subprocess.Popen(endless_command(onnx_bundle)) as parent:
        try:
            worker = worker_of(psutil.Process(parent.pid))
        finally:
            parent.kill()

        assert is_gone(worker)


def test_a_measuring_process_that_takes_too_long_is_ended(onnx_bundle: Bundle) -> None:
    job = onnx_jobs(onnx_bundle, ENDLESS)[0]

    with pytest.raises(MeasurementError) as caught:
        run_job(LocalLink(), job, files_of(onnx_bundle), timeout_s=0.01)
    assert str(caught.value) == "the measuring process took longer than 0.01 s, and was ended"
    assert not psutil.Process().children()


def test_what_a_job_names_is_pushed_once_and_found_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "tiny.safetensors"
    path.write_bytes(b"weights")
    source = CheckpointFile.of(path)
    jobs = step_jobs(tiny_submodel(), source, threads=1)
    link = counting_link([])

    Meter(link=link, files={source.sha256: path}).rows(jobs, num_passes=1)

    assert link.num_sent == 1
    assert link.files == {source.sha256: path}
    assert set(link.argvs) == {
        (
            *("python-there", "-m", "reefl_edge.jobs.worker"),
            f"{source.sha256}=/there/{source.sha256}",
        )
    }


def test_a_bundle_that_is_damaged_is_not_sent_and_once_mended_is(
    onnx_bundle: Bundle, tmp_path: Path
) -> None:
    bundle = Bundle.open(Path(shutil.copytree(onnx_bundle.directory, tmp_path / "bundle")))
    damaged = bundle.directory / bundle.manifest.artifacts[0].files[-1].path
    whole = damaged.read_bytes()
    damaged.write_bytes(bytes([*whole[:-1], whole[-1] ^ 1]))
    link = counting_link([])
    job = onnx_jobs(bundle)[0]

    with pytest.raises(InputError, match=re.escape(str(damaged))):
        run_job(link, job, files_of(bundle))
    assert link.num_sent == 0
    damaged.write_bytes(whole)
    run_job(link, job, files_of(bundle))
    assert link.num_sent == 1


def test_what_a_training_starts_from_goes_with_it_and_its_examples_stay(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("model.safetensors", "examples.npz", "start.safetensors")]
    for path in paths:
        path.write_bytes(path.name.encode())
    model, examples, start = map(sha256_of_file, paths)
    golden = read_job((_GOLDEN / "finetune.json").read_bytes(), source="the job")
    assert isinstance(golden, FinetuneJob)
    source = CheckpointFile(sha256=model)
    job = replace(golden, source=source, dataset=examples, start=start)
    link = answering_link(Failed(code="device", message="no luck"), [])

    with pytest.raises(DeviceError, match="no luck"):
        run_training(link, job, dict(zip((model, examples, start), paths, strict=True)))

    assert f"{start}=/there/scratch/{start}" in link.argvs[0]
    assert link.files == {model: paths[0], examples: paths[1]}


def test_no_path_of_this_machine_travels_in_a_job(onnx_bundle: Bundle) -> None:
    text = schema.to_json(onnx_jobs(onnx_bundle)[0])

    assert str(onnx_bundle.directory) not in text
    assert "/" not in text


def test_a_file_that_is_another_than_the_job_names_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tiny.safetensors"
    save_checkpoint(random_network(tiny_submodel(), seed=0), path)
    source = CheckpointFile.of(path)
    save_checkpoint(random_network(tiny_submodel(), seed=1), path)
    job = step_jobs(tiny_submodel(), source, threads=1, plan=FEW)[0]

    with pytest.raises(InputError, match=f"is not what the job needs: .*, not {source.sha256}"):
        run_job(LocalLink(), job, {source.sha256: path})


def test_a_job_whose_file_nobody_gave_is_not_begun() -> None:
    source = CheckpointFile(sha256="0" * 64)
    asked: list[Job] = []

    with pytest.raises(InputError, match=r"the job needs 0000.*, which did not come with it"):
        run_job(counting_link(asked), step_jobs(tiny_submodel(), source, threads=1)[0], {})
    assert asked == []


@pytest.mark.parametrize("code", get_args(FailureCode))
def test_every_failure_comes_back_as_an_error_of_ours(code: FailureCode) -> None:
    with pytest.raises(ReeflEdgeError, match="no luck"):
        measure_on(ended(Failed(code=code, message="no luck")))


@pytest.mark.parametrize(
    "kind",
    [each for each in ReeflEdgeError.__subclasses__() if each is not FederationError],  # no job's
)
def test_every_error_of_ours_keeps_its_kind_and_its_words(kind: type[ReeflEdgeError]) -> None:
    error = Failed.of(kind("no\nluck")).error()

    assert type(error) is kind
    assert str(error) == r"no\nluck"

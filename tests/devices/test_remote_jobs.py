"""Jobs on a device at the end of a real link give what they give here, and fail in one line."""

import platform
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from reefl_edge import schema
from reefl_edge.adaptive import AdaptiveSession, ConfidencePolicy
from reefl_edge.answers import answers_to
from reefl_edge.bundles.bundle import Bundle
from reefl_edge.data.dataset import ArrayDataset
from reefl_edge.devices.links.agents import Machine, PackedAgent, device_python_agent
from reefl_edge.errors import DeviceError, InputError, MeasurementError
from reefl_edge.finetune.client import train_client
from reefl_edge.finetune.compiled import step_for
from reefl_edge.finetune.modes import DistillMode
from reefl_edge.finetune.training import LocalTraining
from reefl_edge.jobs.device_training import train_client_on
from reefl_edge.jobs.job import InferenceJob, Plan, StepJob
from reefl_edge.jobs.outcome import Measured
from reefl_edge.jobs.running import run_job
from reefl_edge.jobs.sources import BundleFolder, Files
from reefl_edge.profiling.measure import inference_jobs
from reefl_edge.runtimes.base import default_threads
from tests.agents import stand_in
from tests.classifying import classified_on
from tests.fakes.images import random_images
from tests.fakes.measurements import measurement
from tests.remotes import Remote
from tests.trainings import trainable_bundle

FEW = Plan(warmup_runs=1, min_samples=5, min_seconds=0, max_seconds=60)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle that is run and trained by onnxruntime."""
    return trainable_bundle(tmp_path_factory.mktemp("inputs"))


@pytest.fixture
def files(bundle: Bundle) -> Files:
    return {BundleFolder.of(bundle.directory).sha256: bundle.directory}


def onnx_job(bundle: Bundle) -> InferenceJob:
    source = BundleFolder.of(bundle.directory)
    return inference_jobs(bundle.manifest.submodel, source, runtime="onnx", threads=1, plan=FEW)[-1]


def test_an_exit_is_measured_there(remote: Remote, bundle: Bundle, files: Files) -> None:
    with (link := remote.open()).held():
        found = run_job(link, onnx_job(bundle), files)
        host = link.describe()

    assert host.python_version == platform.python_version()
    assert host.packages == {"reefl-edge": "0.1.0"}
    assert len(found.latency_ms_samples) == 5
    assert 0 < found.baseline_mib <= found.peak_mib


def test_a_compiled_training_step_is_measured_there(
    remote: Remote, bundle: Bundle, files: Files
) -> None:
    step = step_for(bundle, "frozen", "onnx")
    job = StepJob(
        submodel=step.submodel, source=BundleFolder.of(bundle.directory), runtime="onnx",
        precision="fp32", threads=1, batch_size=step.batch_size, plan=FEW,
    )  # fmt: skip

    with (link := remote.open()).held():
        found = run_job(link, job, files)

    assert len(found.latency_ms_samples) == 5
    assert 0 < found.baseline_mib <= found.peak_mib


@pytest.mark.parametrize("distill", ["dynamic-ma", "dynamic"])
def test_the_update_from_there_is_the_one_from_here(
    remote: Remote, bundle: Bundle, distill: DistillMode
) -> None:
    dataset = ArrayDataset(random_images(15), np.arange(15) % 3, ("a", "b", "c"), 16)
    training = LocalTraining(
        epochs=2, batch_size=2, learning_rate=0.1, distill=distill, seed=3, augmentation="crop"
    )

    here = train_client(bundle, "frozen", dataset, training, stepper="onnx")
    done: list[tuple[int, int]] = []
    there = train_client_on(
        remote.open(),
        bundle,
        "frozen",
        dataset,
        training,
        threads=default_threads(),
        on_progress=lambda *steps: done.append(steps),
    )

    assert done[-1] == (here.history.num_steps, here.history.num_steps)
    assert there.history == here.history
    assert there.update.provenance == here.update.provenance
    assert there.update.arrays.keys() == here.update.arrays.keys()
    for name, array in here.update.arrays.items():
        np.testing.assert_array_equal(there.update.arrays[name], array)


@pytest.mark.parametrize("share_stopped", [0.0, 0.5])
def test_the_answers_from_there_are_those_from_here(
    remote: Remote, bundle: Bundle, share_stopped: float
) -> None:
    images = random_images(15)
    session = AdaptiveSession.open(bundle)
    thresholds = None
    if share_stopped:
        at_once = session.with_policy(ConfidencePolicy((1e-6,))).predict(images[:8])
        thresholds = (float(np.quantile(at_once.confidences, 1 - share_stopped)),)
        session = session.with_policy(ConfidencePolicy(thresholds))

    here = [
        answer
        for batch in (images[:8], images[8:])
        for answer in answers_to(session, batch, wants_logits=True)
    ]
    there = classified_on(
        remote.open(),
        bundle,
        images,
        thresholds=thresholds,
        threads=default_threads(),
        batch_size=8,
        wants_logits=True,
    )

    assert not list((remote.root / "files").glob("*.npy"))  # the images are gone
    assert {answer.exit_index for answer in here} == ({0, 1} if share_stopped else {1})
    assert [replace(answer, latency_ms=0.0) for answer in there] == [
        replace(answer, latency_ms=0.0) for answer in here
    ]


def test_an_error_there_keeps_its_kind_and_its_words(
    remote: Remote, bundle: Bundle, files: Files
) -> None:
    job = InferenceJob(
        submodel=bundle.manifest.submodel, source=BundleFolder.of(bundle.directory),
        runtime="onnx", precision="int8-dynamic", threads=1, batch_size=1, plan=FEW,
    )  # fmt: skip

    with (
        (link := remote.open()).held(),
        pytest.raises(InputError, match=r"has no onnx-int8-dynamic artifact, only onnx-fp32"),
    ):
        run_job(link, job, files)


OTHER_JOB = schema.to_json(Measured(measurement=measurement(1.0), job_sha256="e5" * 32))


@pytest.mark.parametrize(
    ("start", "message"),
    [
        ("echo nonsense", "what the measuring process wrote: not a JSON file"),
        ("head -c 100000 /dev/urandom", "what the measuring process wrote"),
        ("exit 0", "the measuring process failed: exit code 0"),
        ("echo 'no room in here' >&2; exit 3", "the measuring process failed: no room in here"),
        ("kill -KILL $$", "was killed by SIGKILL, as happens when memory runs out"),
        ("sleep 600", "the measuring process took longer than 2 s, and was ended"),
        (f"echo '{OTHER_JOB}'", "the measuring process answered another job, e5e5"),
    ],
)
def test_a_worker_that_does_not_do_its_job_is_told_in_one_line(
    remote: Remote, bundle: Bundle, files: Files, tmp_path: Path, start: str, message: str
) -> None:
    link = remote.open(stand_in(tmp_path, start))

    with link.held(), pytest.raises(MeasurementError) as caught:
        run_job(link, onnx_job(bundle), files, timeout_s=2)

    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert remote.is_idle()


def test_a_training_that_hangs_is_ended(remote: Remote, bundle: Bundle, tmp_path: Path) -> None:
    dataset = ArrayDataset(random_images(3), np.arange(3), ("a", "b", "c"), 16)
    link = remote.open(stand_in(tmp_path, "echo 'progress 1 of 9' >&2; sleep 600"))

    with pytest.raises(DeviceError, match="the training process said nothing for 1 s, and was end"):
        train_client_on(
            link, bundle, "frozen", dataset, LocalTraining(batch_size=1), threads=1, max_step_s=1
        )

    assert remote.is_idle()


def test_how_far_a_training_came_is_not_why_it_died(
    remote: Remote, bundle: Bundle, tmp_path: Path
) -> None:
    dataset = ArrayDataset(random_images(3), np.arange(3), ("a", "b", "c"), 16)
    link = remote.open(stand_in(tmp_path, "echo gone >&2; echo 'progress 1 of 9' >&2; exit 3"))

    with pytest.raises(DeviceError, match="the training process failed: gone"):
        train_client_on(link, bundle, "frozen", dataset, LocalTraining(batch_size=1), threads=1)


def test_a_device_that_no_agent_runs_on_is_told_and_given_back(remote: Remote) -> None:
    def none_for(machine: Machine) -> PackedAgent:
        raise DeviceError(f"there is no agent for {machine.abi}")

    with pytest.raises(DeviceError, match="there is no agent for"), remote.open(none_for).held():
        pass

    with remote.open().held():
        pass


def test_a_board_tells_which_of_its_pythons_an_agent_can_run_on(remote: Remote) -> None:
    """The board has the Python of these tests; the phone has none by a name that is known."""
    told: list[tuple[str, ...]] = []

    def nothing_for(machine: Machine) -> PackedAgent:
        told.append(machine.find_pythons())
        return device_python_agent(replace(machine, find_pythons=tuple))

    with pytest.raises(
        DeviceError, match=rf"^{remote.kind}:.*has no Python that an agent can run on"
    ):
        remote.open(nothing_for).held().__enter__()

    own = ".".join(platform.python_version_tuple()[:2])
    assert told == [(own,) if remote.kind == "ssh" else ()]

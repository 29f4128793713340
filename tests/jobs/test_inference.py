"""What happens inside a process that classifies images, and what it refuses."""

from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from reefl_edge.adaptive import AdaptiveSession, ConfidencePolicy
from reefl_edge.answers import ImageAnswer, answers_to
from reefl_edge.bundles.bundle import Bundle
from reefl_edge.checkpoints.checkpoint import Checkpoint, write_checkpoint
from reefl_edge.devices.links.base import Finished
from reefl_edge.devices.links.local import LocalLink
from reefl_edge.errors import DeviceError, InputError
from reefl_edge.files import sha256_of_file
from reefl_edge.jobs.inference import infer
from reefl_edge.jobs.job import InferJob, Job, read_job
from reefl_edge.jobs.outcome import Answered, Measured, read_outcome
from reefl_edge.jobs.running import run_inference
from reefl_edge.jobs.sources import BundleFolder, CheckpointFile, Files
from reefl_edge.models.arrays import arrays_of, random_network
from reefl_edge.runtimes.base import default_threads
from reefl_edge.runtimes.eager import EagerRuntime
from reefl_edge.tasks.device_inference import classify_files_on
from tests.classifying import classified_on
from tests.fakes.devices import FakeLink
from tests.fakes.images import random_images
from tests.fakes.jobs import answering_link, ended
from tests.fakes.measurements import measurement
from tests.fakes.submodels import tiny_submodel

_GOLDEN = Path(__file__).parents[1] / "golden" / "outcome" / "valid" / "answers.json"
# To two images, at exits 0 and 1.
ANSWERS = read_outcome(_GOLDEN.read_bytes(), source="answers")


def job_of(bundle: Bundle, folder: Path, images: NDArray[np.generic]) -> tuple[InferJob, Files]:
    """Return a job on images, each up to the deepest exit, and where it finds them."""
    np.save(folder / "images.npy", images)
    job = InferJob(
        source=BundleFolder.of(bundle.directory),
        max_exit=bundle.manifest.submodel.max_exit,
        images=sha256_of_file(folder / "images.npy"),
        thresholds=None,
        runtime="onnx",
        precision="fp32",
        threads=default_threads(),
        batch_size=1,
    )
    return job, {job.source.sha256: bundle.directory, job.images: folder / "images.npy"}


def test_a_worker_answers_each_image(onnx_bundle: Bundle, tmp_path: Path) -> None:
    job, files = job_of(onnx_bundle, tmp_path, random_images(3))

    answers = run_inference(LocalLink(), job, files)

    assert [answer.exit_index for answer in answers] == [1, 1, 1]
    # Of three classes, by logits that are all zero.
    assert [answer.class_index for answer in answers] == [0, 0, 0]
    assert [answer.confidence for answer in answers] == [float(np.float32(1 / 3))] * 3
    assert all(answer.latency_ms > 0 for answer in answers)


@pytest.mark.parametrize(("threshold", "stops_at"), [(0.3, 0), (0.4, 1)])
def test_images_stop_where_the_job_says(
    onnx_bundle: Bundle, tmp_path: Path, threshold: float, stops_at: int
) -> None:
    job, files = job_of(onnx_bundle, tmp_path, random_images(2))

    answered = infer(replace(job, thresholds=(threshold,)), files)

    assert [answer.exit_index for answer in answered.answers] == [stops_at] * 2


def test_no_segment_behind_the_last_exit_of_the_job_is_run(
    onnx_bundle: Bundle, tmp_path: Path
) -> None:
    job, files = job_of(onnx_bundle, tmp_path, random_images(2))

    answered = infer(replace(job, max_exit=0), files)

    assert [answer.exit_index for answer in answered.answers] == [0, 0]


def test_a_checkpoint_answers_by_the_eager_runtime(tmp_path: Path) -> None:
    network = random_network(tiny_submodel(num_blocks=2), seed=0)
    images = random_images(3)
    path = tmp_path / "model.safetensors"
    write_checkpoint(Checkpoint(submodel=network.submodel, arrays=arrays_of(network)), path)
    np.save(tmp_path / "images.npy", images)
    job = InferJob(
        source=CheckpointFile.of(path), max_exit=1, images=sha256_of_file(tmp_path / "images.npy"),
        thresholds=(0.5,), runtime="eager", precision="fp32", threads=1, batch_size=2,
    )  # fmt: skip

    answered = infer(job, {job.source.sha256: path, job.images: tmp_path / "images.npy"})

    policy = ConfidencePolicy((0.5,))
    session = AdaptiveSession(EagerRuntime(network, threads=1), network.submodel, policy)
    here = [*answers_to(session, images[:2]), *answers_to(session, images[2:])]
    assert [replace(answer, latency_ms=0.0) for answer in answered.answers] == [
        replace(answer, latency_ms=0.0) for answer in here
    ]


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((2, 8, 8, 3), np.uint8), r"must be uint8 \(B, 16, 16, 3\), got uint8 \(1, 8"),
        (np.zeros((2, 16, 16, 3), np.float32), r"must be uint8 .*, got float32"),
        (np.zeros((16, 16, 3), np.uint8), "must be uint8"),
        (np.zeros((0, 16, 16, 3), np.uint8), "there was no image"),
        (np.uint8(7), "are no .npy file of a batch"),
    ],
)
def test_images_that_do_not_fit_are_an_error_of_the_input(
    onnx_bundle: Bundle, tmp_path: Path, images: NDArray[np.generic], message: str
) -> None:
    job, files = job_of(onnx_bundle, tmp_path, images)

    with pytest.raises(InputError, match=message):
        infer(job, files)


def test_other_images_than_those_of_the_job_are_refused(
    onnx_bundle: Bundle, tmp_path: Path
) -> None:
    job, files = job_of(onnx_bundle, tmp_path, random_images(2))
    np.save(tmp_path / "images.npy", random_images(1))

    with pytest.raises(InputError, match="is not what the job needs: its hash is"):
        infer(job, files)


def test_an_exit_that_the_model_lacks_is_an_error_of_the_input(
    onnx_bundle: Bundle, tmp_path: Path
) -> None:
    job, files = job_of(onnx_bundle, tmp_path, random_images(1))

    with pytest.raises(InputError, match="exit"):
        infer(replace(job, max_exit=5), files)


def test_more_threads_than_cores_are_an_error_of_the_input(
    onnx_bundle: Bundle, tmp_path: Path
) -> None:
    job, files = job_of(onnx_bundle, tmp_path, random_images(1))

    with pytest.raises(InputError, match="threads"):
        infer(replace(job, threads=100 * default_threads()), files)


def test_one_threshold_travels_as_one_per_exit(onnx_bundle: Bundle) -> None:
    jobs: list[Job] = []
    link = answering_link(ANSWERS, jobs)

    answers = classified_on(link, onnx_bundle, random_images(2), thresholds=(0.7,))

    assert [job.thresholds for job in jobs if isinstance(job, InferJob)] == [(0.7,)]
    assert [answer.class_index for answer in answers] == [2, 0]


def test_thresholds_for_other_exits_are_refused_before_anything_is_sent(
    onnx_bundle: Bundle,
) -> None:
    link = answering_link(ANSWERS, [])

    with pytest.raises(ValueError, match="3 thresholds for 2 exits"):
        classified_on(link, onnx_bundle, random_images(2), thresholds=(0.7, 0.8, 0.9))

    assert link.num_sent == 0


def test_answers_to_other_images_are_a_device_error(onnx_bundle: Bundle) -> None:
    link = answering_link(ANSWERS, [])

    with pytest.raises(DeviceError, match="left 2 answers to 3 images"):
        classified_on(link, onnx_bundle, random_images(3))


def test_answers_without_the_logits_that_were_asked_for_are_a_device_error(
    onnx_bundle: Bundle,
) -> None:
    link = answering_link(ANSWERS, [])

    with pytest.raises(DeviceError, match="left 2 answers to 2 images"):
        classified_on(link, onnx_bundle, random_images(2), wants_logits=True)


def test_a_device_is_held_once_for_all_images_of_a_folder(
    onnx_bundle: Bundle, tmp_path: Path
) -> None:
    np.save(tmp_path / "images.npy", random_images(130))
    nothing = ImageAnswer(class_index=0, confidence=0.5, exit_index=1, latency_ms=1.0)

    def answer(stdin: bytes) -> Finished:
        job = read_job(stdin, source="the job")
        assert isinstance(job, InferJob)
        num_images = len(np.load(link.files[job.images]))
        return ended(
            Answered(answers=(nothing,) * num_images, job_sha256=sha256(stdin).hexdigest())
        )

    link = FakeLink(answer)

    answers = list(classify_files_on(link, onnx_bundle, [tmp_path / "images.npy"]))

    assert len(answers) == 130
    assert len(link.argvs) == 2
    assert link.num_held == 1


def test_the_images_of_a_job_go_with_it_and_the_bundle_stays(onnx_bundle: Bundle) -> None:
    link = answering_link(ANSWERS, [])

    classified_on(link, onnx_bundle, random_images(2))

    assert link.num_sent == 2
    assert list(link.files.values()) == [onnx_bundle.directory]


def test_a_measurement_is_no_answer(onnx_bundle: Bundle) -> None:
    link = answering_link(Measured(measurement=measurement(1.0)), [])

    with pytest.raises(DeviceError, match="nobody asked for, of the kind measurement"):
        classified_on(link, onnx_bundle, random_images(2))

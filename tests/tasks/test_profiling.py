"""Is every exit measured of what a request asks for, and nothing begun that cannot be?"""

from dataclasses import replace
from pathlib import Path

import pytest

from reefl_edge.errors import InputError
from reefl_edge.jobs.job import InferenceJob, Job, StepJob
from reefl_edge.jobs.sources import BundleFolder
from reefl_edge.submodel import Submodel
from reefl_edge.tasks.models import open_model
from reefl_edge.tasks.profiling import ProfileRequest, profile_model
from reefl_export.bundle import Origin, export_checkpoint
from reefl_export.recipe import stock
from reefl_export.training import TrainingPlan
from tests.fakes.jobs import counting_link
from tests.fakes.networks import checkpoint_of, lively_network


def test_inference_is_measured_on_a_bundle_made_for_it_and_a_step_on_the_file(
    checkpoint_path: Path,
) -> None:
    asked, seen = list[Job](), []

    report = profile_model(
        open_model(checkpoint_path),
        ProfileRequest(regime="lora", batch_size=4, num_passes=2),
        device=counting_link(asked),
        on_process=lambda *at: seen.append(at),
    )

    assert seen == [(done, 12) for done in range(13)]
    jobs = [job for job in asked[:4] if isinstance(job, InferenceJob | StepJob)]
    assert len(asked) == 12
    assert [(job.kind, type(job.source).__name__, job.submodel.max_exit) for job in jobs] == [
        ("inference", "BundleFolder", 0),
        ("inference", "BundleFolder", 1),
        ("step", "CheckpointFile", 0),
        ("step", "CheckpointFile", 1),
    ]
    assert {job.submodel.regime for job in jobs[2:]} == {"lora"}
    assert [row.batch_size for row in report.rows] == [1, 1, 4, 4]
    assert report.context.model == "model"


@pytest.fixture(scope="module")
def trainable(home: Path, submodel: Submodel) -> Path:
    """A bundle that trains LoRA, two images at a time."""
    export_checkpoint(
        checkpoint_of(lively_network(submodel)),
        home / "trainable",
        stock(["onnx"]),
        Origin(name="trainable"),
        training=TrainingPlan(regimes=("lora",), batch_size=2),
    )
    return home / "trainable"


def steps_of(asked: list[Job]) -> list[StepJob]:
    return [job for job in asked if isinstance(job, StepJob)]


def test_the_compiled_step_of_a_bundle_is_the_one_that_is_measured(trainable: Path) -> None:
    asked = list[Job]()

    report = profile_model(
        open_model(trainable),
        ProfileRequest(regime="lora", num_passes=1, threads="auto"),
        device=counting_link(asked),
    )

    source = BundleFolder.of(trainable)
    assert {job.source for job in asked if isinstance(job, StepJob)} == {source}
    assert [(row.kind, row.runtime, row.exit_index, row.batch_size) for row in report.rows] == [
        ("inference", "onnx", 0, 1),
        ("inference", "onnx", 1, 1),
        ("step", "onnx", 1, 2),
    ]
    assert [(row.kind, row.threads) for row in report.sweep] == [
        *(("inference", 1), ("step", 1), ("inference", 2), ("step", 2)),
    ]


def test_a_step_that_the_bundle_has_not_is_pytorch_s_unless_it_is_asked_for(
    trainable: Path,
) -> None:
    asked = list[Job]()

    def profile(request: ProfileRequest, max_exit: int | None = None) -> None:
        profile_model(open_model(trainable).cut(max_exit), request, device=counting_link(asked))

    profile(ProfileRequest(regime="frozen", num_passes=1))
    profile(ProfileRequest(regime="lora", num_passes=1), max_exit=0)

    assert {job.runtime for job in steps_of(asked)} == {"eager"}
    assert {job.batch_size for job in steps_of(asked)} == {32}
    asked.clear()
    onnx = ProfileRequest(regime="lora", step_runtime="onnx")
    with pytest.raises(InputError, match="no onnx step that trains frozen, only lora: choose it"):
        profile(replace(onnx, regime="frozen"))
    with pytest.raises(InputError, match="no executorch step that trains lora, nor any other"):
        profile(replace(onnx, step_runtime="executorch"))
    with pytest.raises(InputError, match="has a onnx step for exits 0 to 1 alone, not 0 to 0"):
        profile(onnx, max_exit=0)
    with pytest.raises(ValueError, match=r"compiled for 2 images, not 4; .*-batch-size 4 --format"):
        profile(replace(onnx, batch_size=4))
    assert asked == []


def test_a_step_is_compiled_for_every_exit_of_a_model_that_is_no_bundle(
    checkpoint_path: Path,
) -> None:
    asked = list[Job]()

    report = profile_model(
        open_model(checkpoint_path),
        ProfileRequest(regime="lora", step_runtime="onnx", batch_size=2, num_passes=1),
        device=counting_link(asked),
    )

    steps = steps_of(asked)[:2]
    assert [job.submodel.max_exit for job in steps] == [0, 1]
    assert len({job.source for job in steps}) == 2
    assert {(row.runtime, row.batch_size) for row in report.rows_of("step")} == {("onnx", 2)}


def test_the_fastest_number_of_threads_is_found_for_inference_and_for_the_step(
    checkpoint_path: Path,
) -> None:
    asked = list[Job]()

    report = profile_model(
        open_model(checkpoint_path),
        ProfileRequest(runtime="eager", threads="auto", num_passes=1),
        device=counting_link(asked),
    )

    assert [(row.kind, row.threads, row.exit_index) for row in report.sweep] == [
        ("inference", 1, 1),
        ("step", 1, 1),
        ("inference", 2, 1),
        ("step", 2, 1),
    ]
    assert {row.threads for row in report.rows} == {1}  # two are as fast there, and no faster
    assert [row.exit_index for row in report.rows] == [0, 1, 0, 1]


def test_nothing_is_measured_without_a_pass() -> None:
    with pytest.raises(ValueError, match="need at least 1 pass, got 0"):
        ProfileRequest(num_passes=0)


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (ProfileRequest(precision="int8-static"), "int8-static needs images: export it"),
        (ProfileRequest(regime="lora"), "do not fold"),
    ],
)
def test_what_the_model_does_not_allow_is_refused_before_any_work(
    checkpoint_path: Path, request_: ProfileRequest, message: str
) -> None:
    asked = list[Job]()
    model = open_model(checkpoint_path)
    adapted = lively_network(model.checkpoint.submodel.with_regime("parallel-adapter"))

    with pytest.raises(ValueError, match=message):
        profile_model(
            replace(model, checkpoint=checkpoint_of(adapted)), request_, device=counting_link(asked)
        )

    assert asked == []


def test_a_precision_that_the_runtime_has_not_is_no_request() -> None:
    with pytest.raises(ValueError, match="eager runtime computes in fp32"):
        ProfileRequest(runtime="eager", precision="int8-dynamic")
    with pytest.raises(ValueError, match="onnx does not come in palette4"):
        ProfileRequest(precision="palette4")

"""Is every exit measured of what a request asks for, and nothing begun that cannot be?"""

from dataclasses import replace
from pathlib import Path

import pytest

from reefl_edge.jobs.job import InferenceJob, Job, StepJob
from reefl_edge.tasks.models import open_model
from reefl_edge.tasks.profiling import ProfileRequest, profile_model
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

"""From a sub-model to jobs, and from jobs to a report."""

from dataclasses import replace

import pytest

from reefl_edge.jobs.job import Job, MeasurementJob, Plan
from reefl_edge.jobs.sources import BundleFolder, RandomWeights
from reefl_edge.profiling.measure import inference_jobs, measure_report, step_jobs
from reefl_edge.profiling.passes import Meter
from reefl_edge.profiling.report import RANDOM_WEIGHTS
from tests.fakes.devices import HOST
from tests.fakes.jobs import counting_link
from tests.fakes.submodels import tiny_submodel

FROZEN = replace(tiny_submodel(num_exits=4, max_exit=2), regime="frozen")
BUNDLE = BundleFolder(sha256="0" * 64)


def test_every_exit_is_a_job_of_its_own() -> None:
    jobs = inference_jobs(FROZEN, BUNDLE, runtime="onnx", threads=2)

    assert [job.submodel.max_exit for job in jobs] == [0, 1, 2]
    assert {(job.kind, job.runtime, job.threads, job.batch_size) for job in jobs} == {
        ("inference", "onnx", 2, 1)
    }


def test_steps_keep_the_regime_and_the_batch() -> None:
    jobs = step_jobs(FROZEN, RandomWeights(), threads=1, batch_size=8)

    assert [job.submodel.max_exit for job in jobs] == [0, 1, 2]
    assert {(job.kind, job.runtime, job.batch_size, job.submodel.regime) for job in jobs} == {
        ("step", "eager", 8, "frozen")
    }


def test_a_report_has_a_row_for_every_job_and_the_circumstances() -> None:
    asked = list[Job]()
    jobs: list[MeasurementJob] = [
        *inference_jobs(FROZEN, RandomWeights(), runtime="eager", threads=1),
        *step_jobs(FROZEN, RandomWeights(), threads=1),
    ]

    report = measure_report(
        Meter(link=counting_link(asked), files={}),
        jobs,
        model="tiny",
        weights=RANDOM_WEIGHTS,
        num_passes=1,
    )

    assert asked[len(jobs) :] == jobs  # those before counted memory
    assert [(row.kind, row.exit_index) for row in report.rows] == [
        *(("inference", 0), ("inference", 1), ("inference", 2)),
        *(("step", 0), ("step", 1), ("step", 2)),
    ]
    assert [row.summary.p50_ms for row in report.rows_of("inference")] == [1, 2, 3]
    assert [row.regime for row in report.rows] == [None] * 3 + ["frozen"] * 3
    assert {row.device for row in report.rows} == {"fake"}
    assert report.context.host == HOST
    assert report.context.submodel == FROZEN
    assert not report.context.is_real_hardware
    assert report.context.measured_at.endswith("+00:00")


def test_a_runtime_is_not_given_what_it_cannot_run() -> None:
    with pytest.raises(ValueError, match="onnx runs a bundle, got RandomWeights"):
        inference_jobs(FROZEN, RandomWeights(), runtime="onnx", threads=1)
    with pytest.raises(ValueError, match=r"step runs on eager, .* got eager and BundleFolder"):
        step_jobs(FROZEN, BUNDLE, threads=1)


def test_numbers_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 1 thread and a batch of 1, got 0 and 32"):
        step_jobs(FROZEN, RandomWeights(), threads=0)
    with pytest.raises(ValueError, match="1 or more samples, got 0 and 0"):
        Plan(warmup_runs=0, min_samples=0, min_seconds=0, max_seconds=1)
    with pytest.raises(ValueError, match="at least 2 s and at most 1 s"):
        Plan(warmup_runs=0, min_samples=1, min_seconds=2, max_seconds=1)

"""How is every exit of a model measured on a device?

Jobs first, one for each exit and kind; then one fresh process after another, never two at once.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from reefl_edge.bundles.artifacts import Precision
from reefl_edge.devices.links.base import Link
from reefl_edge.jobs.job import (
    INFERENCE_PLAN,
    STEP_PLAN,
    InferenceJob,
    MeasurementJob,
    Plan,
    StepJob,
)
from reefl_edge.jobs.running import run_job
from reefl_edge.jobs.sources import Files, ModelSource
from reefl_edge.profiling.report import Context, Report, Row
from reefl_edge.runtimes.base import RuntimeName
from reefl_edge.submodel import Submodel

OnRow = Callable[[Row], None]

DEFAULT_BATCH_SIZE = 32


def inference_jobs(
    submodel: Submodel,
    source: ModelSource,
    *,
    runtime: RuntimeName,
    threads: int,
    precision: Precision = "fp32",
    plan: Plan = INFERENCE_PLAN,
) -> tuple[InferenceJob, ...]:
    """List what to measure for the latency of one image at every exit, shallowest first.

    Args:
        submodel: The deepest sub-model to measure.
        source: A bundle; eager also runs a checkpoint or random weights.
        runtime: What runs it.
        threads: Threads to compute with.
        precision: Of the source.
        plan: How long to measure.

    Raises:
        ValueError: The runtime does not run such a source, or ``threads`` is less than 1.
    """
    return tuple(
        InferenceJob(
            runtime=runtime,
            precision=precision,
            threads=threads,
            batch_size=1,
            submodel=submodel.cut(exit_index),
            source=source,
            plan=plan,
        )
        for exit_index in range(submodel.num_exits)
    )


def step_jobs(
    submodel: Submodel,
    source: ModelSource,
    *,
    threads: int,
    batch_size: int = DEFAULT_BATCH_SIZE,
    plan: Plan = STEP_PLAN,
) -> tuple[StepJob, ...]:
    """List what to measure for one fine-tuning step at every exit, shallowest first.

    Args:
        submodel: The deepest sub-model to measure; its regime is the step's.
        source: A checkpoint or random weights.
        threads: Threads to compute with.
        batch_size: Images of a step.
        plan: How long to measure.

    Raises:
        ValueError: The source is a bundle, or a number is less than 1.
    """
    return tuple(
        StepJob(
            runtime="eager",
            precision="fp32",
            threads=threads,
            batch_size=batch_size,
            submodel=submodel.cut(exit_index),
            source=source,
            plan=plan,
        )
        for exit_index in range(submodel.num_exits)
    )


def measure_exits(
    link: Link, jobs: Sequence[MeasurementJob], files: Files, *, on_row: OnRow | None = None
) -> tuple[Row, ...]:
    """Do jobs one after the other, each in a fresh process.

    Args:
        link: The way to the device.
        jobs: What to measure.
        files: Where what the jobs name lies here.
        on_row: Called after every job.

    Raises:
        MeasurementError: A measuring process died.
        ReeflEdgeError: What a measuring process reported.
    """
    rows = []
    for job in jobs:
        row = Row(
            device=link.name,
            runtime=job.runtime,
            precision=job.precision,
            threads=job.threads,
            exit_index=job.submodel.max_exit,
            kind=job.kind,
            batch_size=job.batch_size,
            measurement=run_job(link, job, files),
            regime=job.submodel.regime if job.kind == "step" else None,
        )
        rows.append(row)
        if on_row is not None:
            on_row(row)
    return tuple(rows)


def measure_report(
    link: Link,
    jobs: Sequence[MeasurementJob],
    files: Files,
    *,
    model: str,
    weights: str,
    on_row: OnRow | None = None,
) -> Report:
    """Do jobs and put what they found into a report, with the circumstances.

    Args:
        link: The way to the device.
        jobs: What to measure, at least one.
        files: Where what the jobs name lies here.
        model: A short name of the model.
        weights: The hash of the weights, or ``report.RANDOM_WEIGHTS``.
        on_row: Called after every job.

    Raises:
        MeasurementError: A measuring process died.
        ReeflEdgeError: What a measuring process reported.
    """
    context = Context(
        measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
        device=link.name,
        is_real_hardware=link.is_real_hardware,
        host=link.describe(),
        model=model,
        weights=weights,
        submodel=max((job.submodel for job in jobs), key=lambda submodel: submodel.max_exit),
    )
    return Report(context=context, rows=measure_exits(link, jobs, files, on_row=on_row))

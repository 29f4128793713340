"""How is every exit of a model measured on a device?

Jobs first, one for each exit and kind; then one fresh process after another (``passes.py``).
"""

from collections.abc import Sequence
from datetime import UTC, datetime

from reefl_edge.bundles.artifacts import Precision
from reefl_edge.jobs.job import (
    INFERENCE_PLAN,
    STEP_PLAN,
    InferenceJob,
    MeasurementJob,
    Plan,
    StepJob,
)
from reefl_edge.jobs.sources import ModelSource
from reefl_edge.profiling.passes import DEFAULT_NUM_PASSES, Meter
from reefl_edge.profiling.report import Context, Report, Row
from reefl_edge.runtimes.base import RuntimeName
from reefl_edge.submodel import Submodel

DEFAULT_BATCH_SIZE = 32


def inference_jobs(
    submodel: Submodel,
    source: ModelSource,
    *,
    runtime: RuntimeName,
    threads: int,
    precision: Precision = "fp32",
    plan: Plan = INFERENCE_PLAN,
    cores: tuple[int, ...] | None = None,
) -> tuple[InferenceJob, ...]:
    """List what to measure for the latency of one image at every exit, shallowest first.

    Args:
        submodel: The deepest sub-model to measure.
        source: A bundle; eager also runs a checkpoint or random weights.
        runtime: What runs it.
        threads: Threads to compute with.
        precision: Of the source.
        plan: How long to measure, in each process.
        cores: The cores to compute on; None for any.

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
            cores=cores,
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
    cores: tuple[int, ...] | None = None,
) -> tuple[StepJob, ...]:
    """List what to measure for one fine-tuning step at every exit, shallowest first.

    Args:
        submodel: The deepest sub-model to measure; its regime is the step's.
        source: A checkpoint or random weights.
        threads: Threads to compute with.
        batch_size: Images of a step.
        plan: How long to measure, in each process.
        cores: The cores to compute on; None for any.

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
            cores=cores,
        )
        for exit_index in range(submodel.num_exits)
    )


def measure_report(
    meter: Meter,
    jobs: Sequence[MeasurementJob],
    *,
    model: str,
    weights: str,
    num_passes: int = DEFAULT_NUM_PASSES,
    sweep: tuple[Row, ...] = (),
) -> Report:
    """Do jobs and put what they found into a report, with the circumstances.

    Args:
        meter: Measures them.
        jobs: What to measure, at least one.
        model: A short name of the model.
        weights: The hash of the weights, or ``report.RANDOM_WEIGHTS``.
        num_passes: How often to measure the latency of each.
        sweep: What was measured before, to find the number of threads.

    Raises:
        DeviceError: The device is not fit to be measured.
        MeasurementError: A measuring process died.
        ReeflEdgeError: What a measuring process reported.
    """
    context = Context(
        measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
        device=meter.link.name,
        is_real_hardware=meter.link.is_real_hardware,
        host=meter.link.describe(),
        model=model,
        weights=weights,
        submodel=max((job.submodel for job in jobs), key=lambda submodel: submodel.max_exit),
    )
    return Report(context=context, rows=meter.rows(jobs, num_passes=num_passes), sweep=sweep)

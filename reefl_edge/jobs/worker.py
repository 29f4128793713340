"""How does a fresh process do one job?

Run as ``python -m reefl_edge.jobs.worker [SHA256=PATH ...] [update=PATH]``: the job in JSON on
standard input, where what it names lies in the arguments, and where a training leaves its update;
the outcome in JSON on standard output, where nothing else can come. A fresh process, so that no
earlier model's memory, threads or caches are in the figures. It does not outlive whoever started
it, if that gave it a lifeline.
"""

import gc
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from time import perf_counter, perf_counter_ns, process_time_ns
from typing import BinaryIO, NamedTuple, assert_never

from reefl_edge import schema
from reefl_edge.devices.links.lifeline import obey_lifeline
from reefl_edge.errors import DeviceError, ReeflEdgeError
from reefl_edge.jobs import memory
from reefl_edge.jobs.disturbances import Waits, Watch, compute_on
from reefl_edge.jobs.job import (
    FinetuneJob,
    InferenceJob,
    InferJob,
    Job,
    MeasurementJob,
    Plan,
    StepJob,
    read_job,
)
from reefl_edge.jobs.outcome import Failed, Measured, Measurement, Outcome, Sitting
from reefl_edge.jobs.sources import Files
from reefl_edge.jobs.workloads import Run, import_workload


def main() -> None:
    """Do the job on standard input."""
    obey_lifeline()
    with _result_stream() as results:
        document = sys.stdin.buffer.read()
        try:
            job = read_job(document, source="the job")
            outcome = obey(job, files_in(sys.argv[1:]))
        except ReeflEdgeError as error:
            outcome = Failed.of(error)
        outcome = replace(outcome, job_sha256=sha256(document).hexdigest())
        results.write(schema.to_json(outcome).encode())


def files_in(arguments: Sequence[str]) -> Files:
    """Read the table of where everything lies, each entry ``SHA256=PATH``."""
    pairs = (argument.partition("=") for argument in arguments)
    return {name: Path(place) for name, _, place in pairs}


def obey(job: Job, files: Files) -> Outcome:
    """Do a job in this process, which must be fresh.

    Args:
        job: The job.
        files: Where what it names lies.

    Raises:
        ReeflEdgeError: It cannot be done.
    """
    match job:
        case InferenceJob() | StepJob():
            return Measured(measurement=measure(job, files))
        case FinetuneJob():
            from reefl_edge.jobs.training import train

            return train(job, files)
        case InferJob():
            from reefl_edge.jobs.inference import infer

            return infer(job, files)
        case _:
            assert_never(job)


def measure(job: MeasurementJob, files: Files) -> Measurement:
    """Measure one thing in this process, which must be fresh.

    Raises:
        ReeflEdgeError: It cannot be done; also where the process may not use its cores.
    """
    _compute_on(job.cores)
    load = import_workload(job, files)
    gc.collect()
    memory.reset_peak()
    baseline_mib = memory.resident_mib()
    started_ns = perf_counter_ns()
    run = load()
    load_ms = _ms(perf_counter_ns() - started_ns)
    first_run_ms = _timed(run).wall_ms
    warm_up(run, job.plan)
    watch = Watch.start(job.cores)
    steady = sample(run, job.plan)
    sitting = Sitting(
        num_samples=len(steady),
        load_ms=load_ms,
        first_run_ms=first_run_ms,
        disturbances=watch.since(),
    )
    waits = tuple(timing.wait_ms for timing in steady if timing.wait_ms is not None)
    return Measurement(
        latency_ms_samples=tuple(timing.wall_ms for timing in steady),
        cpu_ms_samples=tuple(timing.cpu_ms for timing in steady),
        load_ms=load_ms,
        first_run_ms=first_run_ms,
        baseline_mib=round(baseline_mib, 3),
        peak_mib=round(memory.peak_mib(), 3),
        wait_ms_samples=waits or None,
        sittings=(sitting,),
    )


def _compute_on(cores: tuple[int, ...] | None) -> None:
    if cores is None:
        return
    try:
        compute_on(cores)
    except OSError as error:
        raise DeviceError(f"a process may not compute on cores {cores} there") from error


class Timing(NamedTuple):
    """How long one run took, on the clock and on the processors, and waited for them."""

    wall_ms: float
    cpu_ms: float
    wait_ms: float | None = None


def warm_up(run: Run, plan: Plan) -> None:
    """Run as often as a plan says before the first sample."""
    started = perf_counter()
    for _ in range(plan.warmup_runs):
        if perf_counter() - started < plan.max_seconds:
            run()


def sample(run: Run, plan: Plan) -> list[Timing]:
    """Time runs until the plan is fulfilled."""
    timings: list[Timing] = []
    waits = Waits()
    before_ms = waits.so_far_ms()
    started = perf_counter()
    while not _is_enough(len(timings), perf_counter() - started, plan):
        timing = _timed(run)
        after_ms = waits.so_far_ms()
        if before_ms is not None and after_ms is not None:
            timing = timing._replace(wait_ms=round(max(0.0, after_ms - before_ms), 4))
        before_ms = after_ms
        timings.append(timing)
    waits.close()
    return timings


def _is_enough(num_samples: int, seconds: float, plan: Plan) -> bool:
    if num_samples > 0 and seconds >= plan.max_seconds:
        return True
    return num_samples >= plan.min_samples and seconds >= plan.min_seconds


def _timed(run: Run) -> Timing:
    cpu_ns, wall_ns = process_time_ns(), perf_counter_ns()
    run()
    wall_ns, cpu_ns = perf_counter_ns() - wall_ns, process_time_ns() - cpu_ns
    return Timing(_ms(wall_ns), _ms(cpu_ns))


def _ms(nanoseconds: int) -> float:
    return round(nanoseconds / 1e6, 4)


@contextmanager
def _result_stream() -> Iterator[BinaryIO]:
    """Keep standard output for the outcome: what anything else prints there goes to stderr."""
    with os.fdopen(os.dup(1), "wb") as results:
        os.dup2(2, 1)
        yield results


if __name__ == "__main__":
    main()

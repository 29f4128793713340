"""How do several processes become one row?

In *passes*: each measures every exit once, each in a fresh process, so that what slows the machine
for a while is spread over all exits, and shows. Latency comes from these. Memory comes from a
process of its own for each exit, which only loads the model and runs it: what is timed is not held
up by counting, and what is counted holds no samples.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import median

from reefl_edge.devices.links.base import Link
from reefl_edge.jobs.job import MEMORY_PLAN, MeasurementJob
from reefl_edge.jobs.outcome import Measurement
from reefl_edge.jobs.running import run_job
from reefl_edge.jobs.sources import Files
from reefl_edge.profiling.readiness import Readiness
from reefl_edge.profiling.report import Row

DEFAULT_NUM_PASSES = 3


def num_processes(num_jobs: int, num_passes: int) -> int:
    """Return how many processes measure so many jobs."""
    return num_jobs * (num_passes + 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Meter:
    """Measures jobs on a device, in fresh processes, never two at once.

    Attributes:
        link: The way to the device.
        files: Where what jobs name lies here.
        readiness: Waits before every process; None to wait for nothing.
        on_process: Called after every process.
    """

    link: Link
    files: Files
    readiness: Readiness | None = None
    on_process: Callable[[], None] = lambda: None

    def rows(
        self, jobs: Sequence[MeasurementJob], *, num_passes: int = DEFAULT_NUM_PASSES
    ) -> tuple[Row, ...]:
        """Do jobs, and make a row of each.

        Args:
            jobs: What to measure.
            num_passes: How often to measure the latency of each.

        Raises:
            DeviceError: The device is not fit to be measured.
            MeasurementError: A measuring process died.
            ReeflEdgeError: What a measuring process reported.
        """
        # Memory first: what does not fit is known before anything is timed.
        memory = [self._measured(replace(job, plan=MEMORY_PLAN)) for job in jobs]
        passes = [[self._measured(job) for job in jobs] for _ in range(num_passes)]
        return tuple(
            _row(self.link, job, pooled(taken, peak))
            for job, peak, *taken in zip(jobs, memory, *passes, strict=True)
        )

    def _measured(self, job: MeasurementJob) -> Measurement:
        if self.readiness is not None:
            self.readiness.wait()
        measurement = run_job(self.link, job, self.files)
        self.on_process()
        return measurement


def pooled(taken: Sequence[Measurement], memory: Measurement) -> Measurement:
    """Put what processes measured of one job into one measurement.

    Args:
        taken: Of each pass, in order.
        memory: Of the process whose memory counts.

    Returns:
        All samples in their order; load and first run are the medians.
    """
    waits = tuple(wait for each in taken for wait in each.wait_ms_samples or ())
    return Measurement(
        latency_ms_samples=tuple(sample for each in taken for sample in each.latency_ms_samples),
        cpu_ms_samples=tuple(sample for each in taken for sample in each.cpu_ms_samples),
        load_ms=round(median(each.load_ms for each in taken), 4),
        first_run_ms=round(median(each.first_run_ms for each in taken), 4),
        baseline_mib=memory.baseline_mib,
        peak_mib=memory.peak_mib,
        wait_ms_samples=waits if all(each.wait_ms_samples for each in taken) else None,
        sittings=tuple(sitting for each in taken for sitting in each.sittings),
    )


def _row(link: Link, job: MeasurementJob, measurement: Measurement) -> Row:
    return Row(
        device=link.name,
        runtime=job.runtime,
        precision=job.precision,
        threads=job.threads,
        exit_index=job.submodel.max_exit,
        kind=job.kind,
        batch_size=job.batch_size,
        measurement=measurement,
        regime=job.submodel.regime if job.kind == "step" else None,
    )

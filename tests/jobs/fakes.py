"""Stand-ins for what a worker finds."""

from collections.abc import Sequence

from reefl_edge import schema
from reefl_edge.devices.links.base import Finished
from reefl_edge.jobs.job import InferenceJob, Job, StepJob, read_job
from reefl_edge.jobs.outcome import Measured, Measurement, Outcome
from tests.devices.fakes import FakeLink


def measurement(latency_ms: float | Sequence[float], *, memory_mib: float = 10.0) -> Measurement:
    """Return a measurement: of these samples, or of ten equal ones."""
    samples = (latency_ms,) * 10 if isinstance(latency_ms, int | float) else tuple(latency_ms)
    return Measurement(
        latency_ms_samples=samples,
        cpu_ms_samples=samples,
        load_ms=5.0,
        first_run_ms=7.0,
        baseline_mib=100.0,
        peak_mib=100.0 + memory_mib,
    )


def ended(outcome: Outcome) -> Finished:
    """Return a process that ended well, with an outcome."""
    return Finished(exit_code=0, stdout=schema.to_json(outcome).encode(), stderr=b"")


def counting_link(jobs: list[Job]) -> FakeLink:
    """Return a device on which an exit takes as many milliseconds as it has blocks.

    Args:
        jobs: Filled with the jobs that it is sent.
    """

    def answer(stdin: bytes) -> Finished:
        job = read_job(stdin, source="the job")
        jobs.append(job)
        assert isinstance(job, InferenceJob | StepJob)
        return ended(Measured(measurement=measurement(float(job.submodel.depth))))

    return FakeLink(answer)

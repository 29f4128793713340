"""Workers that need no process."""

from dataclasses import replace
from hashlib import sha256

from reefl_edge import schema
from reefl_edge.devices.links.base import Finished
from reefl_edge.jobs.job import InferenceJob, Job, StepJob, read_job
from reefl_edge.jobs.outcome import Measured, Outcome
from tests.fakes.devices import FakeLink
from tests.fakes.measurements import measurement


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
        found = measurement(float(job.submodel.depth))
        return ended(Measured(measurement=found, job_sha256=sha256(stdin).hexdigest()))

    return FakeLink(answer)


def answering_link(outcome: Outcome, jobs: list[Job]) -> FakeLink:
    """Return a device on which every job has one outcome.

    Args:
        outcome: What it leaves, said to be of the job.
        jobs: Filled with the jobs that it is sent.
    """

    def answer(stdin: bytes) -> Finished:
        jobs.append(read_job(stdin, source="the job"))
        return ended(replace(outcome, job_sha256=sha256(stdin).hexdigest()))

    return FakeLink(answer)

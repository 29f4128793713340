"""How does a job become a process on a device, and what it leaves a result or an error?

Once, above all links: they know nothing of jobs.
"""

import signal
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from hashlib import sha256

from reefl_edge import schema
from reefl_edge.answers import ImageAnswer
from reefl_edge.checkpoints.update import Update, read_update
from reefl_edge.devices.links.base import Finished, Link
from reefl_edge.devices.links.streams import OnLine
from reefl_edge.errors import DeviceError, InputError, MeasurementError, ReeflEdgeError
from reefl_edge.files import sha256_of_file
from reefl_edge.jobs.job import FinetuneJob, InferJob, Job, MeasurementJob
from reefl_edge.jobs.outcome import (
    Answered,
    Failed,
    Measured,
    Measurement,
    Outcome,
    Trained,
    read_outcome,
)
from reefl_edge.jobs.progress import OnProgress, is_progress, told_to
from reefl_edge.jobs.sources import UPDATE, Files, RandomWeights, located
from reefl_edge.partials import scratch_folder

WORKER = "reefl_edge.jobs.worker"

# How long a process may take beyond what its plan says: to start, and to load and run the model
# once, on the slowest device.
_SLACK_S = 900.0
# How long one step of a training, or one batch of images, may take there, loading included.
MAX_STEP_S = 900.0


def run_job(
    link: Link, job: MeasurementJob, files: Files, *, timeout_s: float | None = None
) -> Measurement:
    """Measure in a fresh process on a device.

    Args:
        link: The way to the device, which is held.
        job: What to measure.
        files: Where what the job names lies here.
        timeout_s: How long it may take; None for many times what its plan says.

    Raises:
        MeasurementError: The process died, took too long or wrote something else; why, in one line.
        ReeflEdgeError: What the process itself reported, or the link.
    """
    if timeout_s is None:
        timeout_s = _SLACK_S + 4 * job.plan.max_seconds
    outcome = _MEASURING.outcome(link, job, _pushed(link, job, files), timeout_s=timeout_s)
    if not isinstance(outcome, Measured):
        raise _MEASURING.not_asked_for(outcome)
    return outcome.measurement


def run_training(
    link: Link,
    job: FinetuneJob,
    files: Files,
    *,
    max_step_s: float = MAX_STEP_S,
    on_progress: OnProgress = lambda *_: None,
) -> tuple[Update, Trained]:
    """Train in a fresh process on a device.

    Args:
        link: The way to the device, which is held.
        job: What to train.
        files: Where what the job names lies here.
        max_step_s: How long a step may take; the first one may load the model, too.
        on_progress: Called now and then with the steps that are done, and how many there are.

    Returns:
        The update, and what happened.

    Raises:
        DeviceError: The process died or wrote something else; why, in one line.
        ReeflEdgeError: What the process itself reported, or the link.
    """
    with link.scratch() as there, scratch_folder() as here:
        places = _pushed(link, job, files, into=there)
        left = f"{there}/update.safetensors"
        outcome = _TRAINING.outcome(
            link,
            job,
            {**places, UPDATE: left},
            silence_s=max_step_s,
            on_line=told_to(on_progress),
        )
        if not isinstance(outcome, Trained):
            raise _TRAINING.not_asked_for(outcome)
        update = here / "update.safetensors"
        link.pull(left, update)
        if sha256_of_file(update) != outcome.update_sha256:
            raise _TRAINING.error("left another update than it said")
        return read_update(update), outcome


def run_inference(link: Link, job: InferJob, files: Files) -> tuple[ImageAnswer, ...]:
    """Classify images in a fresh process on a device.

    Args:
        link: The way to the device, which is held.
        job: What to classify.
        files: Where what the job names lies here.

    Raises:
        DeviceError: The process died or wrote something else; why, in one line.
        ReeflEdgeError: What the process itself reported, or the link.
    """
    with link.scratch() as there:
        places = _pushed(link, job, files, into=there)
        outcome = _ANSWERING.outcome(link, job, places, silence_s=MAX_STEP_S)
    if not isinstance(outcome, Answered):
        raise _ANSWERING.not_asked_for(outcome)
    return outcome.answers


@dataclass(frozen=True, slots=True)
class _Process:
    """What a process is called, and what is raised where it does not do what it should."""

    doing: str
    error_type: type[ReeflEdgeError]

    def error(self, what: str) -> ReeflEdgeError:
        """Say what the process did."""
        return self.error_type(f"the {self.doing} process {what}")

    def not_asked_for(self, outcome: Outcome) -> ReeflEdgeError:
        """Say that the process did something else."""
        return self.error(f"left an outcome that nobody asked for, of the kind {outcome.kind}")

    def outcome(
        self,
        link: Link,
        job: Job,
        places: dict[str, str],
        *,
        timeout_s: float | None = None,
        silence_s: float | None = None,
        on_line: OnLine = lambda _: None,
    ) -> Outcome:
        """Do a job on a device; what failed there is raised here."""
        document = schema.to_json(job).encode()
        argv = [*link.python, "-m", WORKER, *(f"{name}={place}" for name, place in places.items())]
        try:
            finished = link.run(
                argv, stdin=document, timeout_s=timeout_s, silence_s=silence_s, on_line=on_line
            )
        except TimeoutError as error:
            late = "took longer than" if silence_s is None else "said nothing for"
            raise self.error(f"{late} {timeout_s or silence_s:g} s, and was ended") from error
        outcome = self.read(finished)
        if outcome.job_sha256 != sha256(document).hexdigest():
            raise self.error(f"answered another job, {outcome.job_sha256 or 'and not which'}")
        return outcome

    def read(self, finished: Finished) -> Outcome:
        """Return what a process left; what failed there is raised here."""
        if finished.exit_code != 0 or not finished.stdout:
            raise self.error(_death(finished))
        try:
            outcome = read_outcome(finished.stdout, source=f"what the {self.doing} process wrote")
        except InputError as error:  # not of a file of the user's
            raise self.error_type(str(error)) from error
        if isinstance(outcome, Failed):
            raise outcome.error()
        return outcome


_MEASURING = _Process("measuring", MeasurementError)
_TRAINING = _Process("training", DeviceError)
_ANSWERING = _Process("answering", DeviceError)


def _pushed(link: Link, job: Job, files: Files, *, into: str | None = None) -> dict[str, str]:
    """Put what a job needs on the device; return where it lies there, by its name.

    What no other job will need goes into a folder there that goes with this one.
    """
    places = {}
    source = job.source
    if not isinstance(source, RandomWeights):
        # What is damaged when it is sent would stay there, under the name of what is whole.
        places[source.sha256] = link.push(
            located(files, source.sha256),
            sha256=source.sha256,
            before_sending=partial(source.check, files),
        )
    if isinstance(job, FinetuneJob):  # of each round: its client's examples are the same
        places[job.dataset] = link.push(located(files, job.dataset), sha256=job.dataset)
    for name in _for_once(job):
        places[name] = link.push(located(files, name), sha256=name, into=into)
    return places


def _for_once(job: Job) -> Iterator[str]:
    """Name what is other images, or other arrays to start from, in the next job."""
    if isinstance(job, InferJob):
        yield job.images
    if isinstance(job, FinetuneJob) and job.start is not None:
        yield job.start


def _death(finished: Finished) -> str:
    """Say in one line why a process ended without an outcome."""
    code = finished.exit_code
    if code < 0:
        hint = ", as happens when memory runs out" if code == -signal.SIGKILL else ""
        return f"was killed by {_signal_name(-code)}{hint}"
    said = finished.stderr.decode(errors="replace").strip().splitlines()
    lines = [line for line in said if not is_progress(line)]
    return f"failed: {lines[-1] if lines else f'exit code {code}'}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # most real-time signals have none
        return f"signal {number}"

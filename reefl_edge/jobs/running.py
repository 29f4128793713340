"""How does a job become a process on a device, and what it leaves a measurement or an error?

Once, above all links: they know nothing of jobs.
"""

import signal
from typing import assert_never

from reefl_edge import schema
from reefl_edge.devices.links.base import Finished, Link
from reefl_edge.errors import InputError, MeasurementError
from reefl_edge.jobs.job import MeasurementJob
from reefl_edge.jobs.outcome import Failed, Measured, Measurement, read_outcome
from reefl_edge.jobs.sources import Files, RandomWeights, located

WORKER = "reefl_edge.jobs.worker"


def run_job(
    link: Link, job: MeasurementJob, files: Files, *, timeout_s: float | None = None
) -> Measurement:
    """Measure in a fresh process on a device.

    Args:
        link: The way to the device.
        job: What to measure.
        files: Where what the job names lies here.
        timeout_s: How long it may take; None for any time.

    Raises:
        MeasurementError: The process died, took too long or wrote something else; why, in one line.
        ReeflEdgeError: What the process itself reported, or the link.
    """
    places = _pushed(link, job, files)
    argv = [*link.python, "-m", WORKER, *(f"{name}={place}" for name, place in places.items())]
    try:
        finished = link.run(argv, stdin=schema.to_json(job).encode(), timeout_s=timeout_s)
    except TimeoutError as error:
        raise MeasurementError(
            f"the measuring process took longer than {timeout_s:g} s, and was ended"
        ) from error
    return measurement_of(finished)


def _pushed(link: Link, job: MeasurementJob, files: Files) -> dict[str, str]:
    """Put what a job needs on the device; return where it lies there, by its name."""
    if isinstance(job.source, RandomWeights):
        return {}
    name = job.source.sha256
    return {name: link.push(located(files, name), sha256=name)}


def measurement_of(finished: Finished) -> Measurement:
    """Return what a measuring process found.

    Raises:
        MeasurementError: It died, or wrote something else; why, in one line.
        ReeflEdgeError: What the process itself reported, of the same kind.
    """
    if finished.exit_code != 0 or not finished.stdout:
        raise MeasurementError(_death(finished))
    try:
        outcome = read_outcome(finished.stdout, source="what the measuring process wrote")
    except InputError as error:  # not of a file of the user's
        raise MeasurementError(str(error)) from error
    match outcome:
        case Measured():
            return outcome.measurement
        case Failed():
            raise outcome.error()
        case _:
            assert_never(outcome)


def _death(finished: Finished) -> str:
    """Say in one line why a process ended without an outcome."""
    code = finished.exit_code
    if code < 0:
        hint = ", as happens when memory runs out" if code == -signal.SIGKILL else ""
        return f"the measuring process was killed by {_signal_name(-code)}{hint}"
    lines = finished.stderr.decode(errors="replace").strip().splitlines()
    return f"the measuring process failed: {lines[-1] if lines else f'exit code {code}'}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # most real-time signals have none
        return f"signal {number}"

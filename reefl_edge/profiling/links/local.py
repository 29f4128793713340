"""How is something measured on this machine?

By a Python process of its own, which reads the job from its standard input and writes the outcome
to its standard output.
"""

import os
import signal
import subprocess
import sys

from reefl_edge import schema
from reefl_edge.errors import InputError, MeasurementError, ReeflEdgeError
from reefl_edge.profiling.host import Host, describe_host
from reefl_edge.profiling.job import Failure, Job, Measurement, Outcome
from reefl_edge.profiling.lifeline import lifeline

# Variables with which a shell tunes threads and allocator: they would be part of what is measured,
# and of no report.
_TUNING_PREFIXES = ("GOMP_", "KMP_", "MALLOC_", "MKL_", "OMP_", "OPENBLAS_", "VECLIB_")


class LocalLink:
    """This machine."""

    name = "local"
    is_real_hardware = True

    def is_available(self) -> bool:
        """Tell whether a job could be run now: always."""
        return True

    def describe_host(self) -> Host:
        """Describe this machine."""
        return describe_host()

    def run(self, job: Job) -> Measurement:
        """Measure in a fresh process; see ``DeviceLink.run``."""
        # On Ctrl-C, or any other error here, run() kills the process before it raises; where this
        # process gets no chance to, the lifeline ends it. -P: the user's folder holds the user's
        # files, which are not to be imported for ours.
        with lifeline() as end:
            process = subprocess.run(
                [sys.executable, "-P", "-m", "reefl_edge.profiling.worker", str(end)],
                input=schema.to_json(job).encode(),
                capture_output=True,
                env=_environment(),
                pass_fds=(end,),
                check=False,
            )
        return measurement_of(process.returncode, process.stdout, process.stderr)


def measurement_of(returncode: int, stdout: bytes, stderr: bytes) -> Measurement:
    """Return what a measuring process found.

    Args:
        returncode: How it ended; negative for a signal.
        stdout: An outcome in JSON, if it got that far.
        stderr: What else was said.

    Raises:
        MeasurementError: It died, or wrote something else; why, in one line.
        ReeflEdgeError: What the process itself reported, of the same kind.
    """
    if returncode != 0 or not stdout:
        raise MeasurementError(_death(returncode, stderr))
    try:
        outcome = schema.from_json(Outcome, stdout, source="what the measuring process wrote")
    except InputError as error:  # not of a file of the user's
        raise MeasurementError(str(error)) from error
    if outcome.failure is not None:
        raise _error_of(outcome.failure)
    assert outcome.measurement is not None
    return outcome.measurement


def _environment() -> dict[str, str]:
    return {
        name: value for name, value in os.environ.items() if not name.startswith(_TUNING_PREFIXES)
    }


def _death(returncode: int, stderr: bytes) -> str:
    """Say in one line why a process ended without an outcome."""
    if returncode < 0:
        hint = ", as happens when memory runs out" if returncode == -signal.SIGKILL else ""
        return f"the measuring process was killed by {_signal_name(-returncode)}{hint}"
    lines = stderr.decode(errors="replace").strip().splitlines()
    return f"the measuring process failed: {lines[-1] if lines else f'exit code {returncode}'}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # most real-time signals have none
        return f"signal {number}"


def _error_of(failure: Failure) -> ReeflEdgeError:
    """Turn what a process reported back into the error it was."""
    kinds = {kind.__name__: kind for kind in ReeflEdgeError.__subclasses__()}
    return kinds.get(failure.kind, MeasurementError)(failure.message)

"""How is something measured on this machine?

By a Python process of its own, which reads the job from its standard input and writes the outcome
to its standard output.
"""

import os
import signal
import subprocess
import sys

from reefl_edge import schema
from reefl_edge.errors import MeasurementError, ReeflEdgeError
from reefl_edge.profiling.host import Host, describe_host
from reefl_edge.profiling.job import Failure, Job, Measurement, Outcome

# Variables with which a shell tunes threads and allocator: they would be part of what is measured,
# and of no report.
_TUNING_PREFIXES = ("GOMP_", "KMP_", "MALLOC_", "MKL_", "OMP_")


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
        # On Ctrl-C, or any other error here, run() kills the process before it raises.
        process = subprocess.run(
            [sys.executable, "-m", "reefl_edge.profiling.worker"],
            input=schema.to_json(job).encode(),
            capture_output=True,
            env=_environment(),
            check=False,
        )
        if process.returncode != 0 or not process.stdout:
            raise MeasurementError(_death(process.returncode, process.stderr))
        outcome = schema.from_json(Outcome, process.stdout, source="the measuring process")
        if outcome.measurement is None:
            raise _error_of(outcome.failure)
        return outcome.measurement


def _environment() -> dict[str, str]:
    return {
        name: value for name, value in os.environ.items() if not name.startswith(_TUNING_PREFIXES)
    }


def _death(returncode: int, stderr: bytes) -> str:
    """Say in one line why a process ended without an outcome."""
    if returncode < 0:
        name = signal.Signals(-returncode).name
        hint = ", as happens when memory runs out" if name == "SIGKILL" else ""
        return f"the measuring process was killed by {name}{hint}"
    lines = stderr.decode(errors="replace").strip().splitlines()
    return f"the measuring process failed: {lines[-1] if lines else f'exit code {returncode}'}"


def _error_of(failure: Failure | None) -> ReeflEdgeError:
    """Turn what a process reported back into the error it was."""
    if failure is None:
        return MeasurementError("the measuring process reported nothing")
    kinds = {kind.__name__: kind for kind in ReeflEdgeError.__subclasses__()}
    return kinds.get(failure.kind, MeasurementError)(failure.message)

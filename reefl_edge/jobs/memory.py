"""How much memory does this process use, and what was the most it used?

Linux keeps the highest resident size of a process (``VmHWM``) and forgets it when asked to, so the
peak can be taken of a part of a run. ``ru_maxrss`` will not do there: a process inherits its
parent's over ``exec``, so a small worker started by a large program would report that program.
macOS has no such reset; there ``ru_maxrss`` is of this process alone, imports included.
"""

import re
import resource
import sys
from contextlib import suppress
from pathlib import Path

import psutil

from reefl_edge.errors import MeasurementError

_MIB = 2**20


def resident_mib() -> float:
    """Return the resident memory of this process now."""
    return float(psutil.Process().memory_info().rss) / _MIB


def reset_peak() -> None:
    """Forget the peak so far, where the system can.

    Where it cannot, the peak counts from the start of the process: too high, never too low.
    """
    if sys.platform == "linux":
        with suppress(OSError):  # some containers forbid it
            # Source: proc_pid_clear_refs(5): 5 sets the peak resident size to the present one.
            Path("/proc/self/clear_refs").write_text("5")


def peak_mib() -> float:
    """Return the most resident memory since the last reset, or since the process began.

    Raises:
        MeasurementError: The system does not tell.
    """
    if sys.platform == "linux":
        match = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
        if match is None:
            raise MeasurementError("cannot measure memory: /proc/self/status has no VmHWM")
        return int(match[1]) * 1024 / _MIB
    if sys.platform == "darwin":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _MIB
    raise MeasurementError(f"memory is measured on Linux and macOS, not on {sys.platform}")

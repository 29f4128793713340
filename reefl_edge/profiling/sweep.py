"""How many threads are the fastest on a device?

One, two, and one for each fast core are tried on the deepest exit; more threads than that share
cores, or compute on slow ones.
"""

from collections.abc import Sequence

from reefl_edge.devices.host import Host
from reefl_edge.profiling.report import Row

# More threads must save so much, or they only heat the device.
_WORTH = 0.05


def thread_counts(host: Host) -> tuple[int, ...]:
    """Return the numbers of threads to try on a device, the smallest first."""
    most = host.threads(None)
    return tuple(sorted({1, min(2, most), most}))


def fastest_threads(rows: Sequence[Row]) -> int:
    """Return the number of threads to compute with.

    Args:
        rows: The same, measured with different numbers of threads, the smallest first.
    """
    best = rows[0]
    for row in rows[1:]:
        if row.summary.p50_ms < (1 - _WORTH) * best.summary.p50_ms:
            best = row
    return best.threads

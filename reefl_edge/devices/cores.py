"""Which cores does a device have, and which of them are fast?

Phones, and newer laptops, have cores of several designs. A *cluster* is the cores of one speed. The
*fast* cores are all but those of the slowest cluster, where that is slower by more than the clocks
of one design differ. Linux numbers the speed of a core where designs differ (``cpu_capacity``, 1024
for the fastest); elsewhere the highest clock stands for it.
"""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from reefl_edge.devices.system_files import SystemFiles

# Cores of one design may clock a tenth apart (a processor's favoured cores); designs lie further.
_SLOWER = 0.85

_CPU_FILE = re.compile(r"/sys/devices/system/cpu/cpu(\d+)/(.+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreCluster:
    """The cores of one speed that a process may use.

    Attributes:
        cores: Their numbers, as the system counts them, in the order in which to fill them:
            second threads of a core come last.
        max_mhz: Their highest clock; None if the system does not say.
        capacity: Their speed beside 1024 for the fastest; None if the system does not say.
    """

    cores: tuple[int, ...]
    max_mhz: float | None = None
    capacity: int | None = None

    def __post_init__(self) -> None:
        if not self.cores or min(self.cores) < 0 or len(set(self.cores)) < len(self.cores):
            raise ValueError(f"a cluster names each of its cores once, got {self.cores}")

    @property
    def speed(self) -> float:
        """What clusters of one device are compared by."""
        return self.capacity or self.max_mhz or 0


def fast_cores(clusters: Sequence[CoreCluster]) -> tuple[int, ...]:
    """Return the fast cores, the fastest first.

    Args:
        clusters: Fastest first.
    """
    fast = list(clusters)
    if len(fast) > 1 and fast[-1].speed < _SLOWER * fast[0].speed:
        fast.pop()
    return tuple(core for cluster in fast for core in cluster.cores)


def clusters_in(files: SystemFiles) -> tuple[CoreCluster, ...]:
    """Find the clusters in a device's ``CORE_FILES``, fastest first; none if they name no core."""
    facts: dict[int, dict[str, str]] = defaultdict(dict)
    for path, content in files.items():
        if match := _CPU_FILE.fullmatch(path):
            facts[int(match[1])][match[2]] = content
    usable = _usable_cores(files)
    groups: dict[tuple[int | None, float | None], list[int]] = defaultdict(list)
    for core in sorted(facts, key=lambda core: (_sibling_rank(core, facts[core]), core)):
        if usable is None or core in usable:
            groups[_speed_of(facts[core])].append(core)
    clusters = (
        CoreCluster(cores=tuple(cores), max_mhz=max_mhz, capacity=capacity)
        for (capacity, max_mhz), cores in groups.items()
    )
    return tuple(sorted(clusters, key=lambda cluster: (-cluster.speed, min(cluster.cores))))


def _speed_of(facts: dict[str, str]) -> tuple[int | None, float | None]:
    capacity, max_khz = facts.get("cpu_capacity", ""), facts.get("cpufreq/cpuinfo_max_freq", "")
    return (
        int(capacity) if capacity.isdecimal() else None,
        int(max_khz) / 1000 if max_khz.isdecimal() else None,
    )


def _sibling_rank(core: int, facts: dict[str, str]) -> int:
    """Return how many threads of the same core come before this one."""
    siblings = facts.get("topology/thread_siblings_list", "")
    return sum(sibling < core for sibling in numbers_in(siblings))


def _usable_cores(files: SystemFiles) -> set[int] | None:
    """Return the cores that a process may use; None if the system does not say."""
    match = re.search(r"^Cpus_allowed_list:\s*(\S+)", files.get("/proc/self/status", ""), re.M)
    return set(numbers_in(match[1])) if match else None


def numbers_in(text: str) -> tuple[int, ...]:
    """Read a list of cores as Linux writes it.

    >>> numbers_in("0-2,5")
    (0, 1, 2, 5)
    """
    ranges = re.findall(r"(\d+)(?:-(\d+))?", text)
    return tuple(
        core for first, last in ranges for core in range(int(first), int(last or first) + 1)
    )

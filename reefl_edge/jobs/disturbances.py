"""What else happened on the cores of a process while it took samples?

As Linux, an Android among them, counts it; where a system does not, the answer is None:

- how long its own threads were ready and had to wait for a core (``schedstat``, nanoseconds);
- what share of the time of its cores others took, other virtual machines among them, and how many
  of the device's other cores they kept busy (``/proc/stat``, in hundredths of a second);
- the clock of its cores (``cpufreq``).

Source: proc_pid_stat(5), proc_stat(5), Documentation/scheduler/sched-stats.rst of Linux.
"""

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, process_time
from typing import Any, NamedTuple, Self

import psutil

from reefl_edge.devices.cores import numbers_in

# Below, a hundredth of a second more or less is a large share.
_MIN_SECONDS = 0.2

_TASKS = Path("/proc/self/task")
_CORES = Path("/sys/devices/system/cpu")


def compute_on(cores: Sequence[int]) -> None:
    """Keep this process, every thread of it, to some cores.

    Raises:
        OSError: It may not use one of them.
    """
    for thread in _TASKS.iterdir():
        with suppress(ProcessLookupError):  # it has ended
            os.sched_setaffinity(int(thread.name), cores)


class Waits:
    """How long the threads of this process have waited for a core, those that are there now."""

    def __init__(self) -> None:
        self._files: list[int] = []
        with suppress(OSError):  # another system, or a kernel that does not count
            for thread in _TASKS.iterdir():
                self._files.append(os.open(thread / "schedstat", os.O_RDONLY | os.O_CLOEXEC))

    def so_far_ms(self) -> float | None:
        """Return the sum over all threads; None if the system does not say."""
        total_ns = 0
        for file in self._files:
            with suppress(OSError):  # the thread has ended
                total_ns += int(os.pread(file, 128, 0).split()[1])
        return total_ns / 1e6 if self._files else None

    def close(self) -> None:
        """Give the files back."""
        for file in self._files:
            os.close(file)


class CoreTimes(NamedTuple):
    """Seconds that cores worked, and that another virtual machine had them, since the start."""

    busy_s: float
    stolen_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Disturbances:
    """What happened beside a process while it took samples; None where the system does not say.

    Attributes:
        others_share: What other processes, and the system, took of the time of its cores.
        stolen_share: What other virtual machines took of it.
        busy_elsewhere: How many of the device's other cores were busy, on average.
        first_mhz: The mean clock of its cores before the first sample.
        last_mhz: The same after the last.
    """

    others_share: float | None = None
    stolen_share: float | None = None
    busy_elsewhere: float | None = None
    first_mhz: float | None = None
    last_mhz: float | None = None

    def __post_init__(self) -> None:
        amounts = (
            *(self.others_share, self.stolen_share, self.busy_elsewhere),
            *(self.first_mhz, self.last_mhz),
        )
        if not all(amount is None or 0 <= amount <= 1e6 for amount in amounts):
            raise ValueError(f"a share, a number of cores or a clock is out of range: {amounts}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """The counts at a moment; what became of them is what happened since.

    Attributes:
        cores: Those of this process; None for all.
        wall_s: The time.
        cpu_s: Processor time of this process.
        times: Of every core; empty where the system does not say.
        mhz: The mean clock of the process's cores.
    """

    cores: tuple[int, ...] | None
    wall_s: float
    cpu_s: float
    times: Mapping[int, CoreTimes]
    mhz: float | None

    @classmethod
    def start(cls, cores: tuple[int, ...] | None) -> Self:
        """Note the counts now."""
        mhz, times = _mean_mhz(cores), _core_times()
        return cls(cores=cores, wall_s=perf_counter(), cpu_s=process_time(), times=times, mhz=mhz)

    def since(self) -> Disturbances:
        """Return what happened since."""
        now = Watch.start(self.cores)
        clocks = Disturbances(first_mhz=self.mhz, last_mhz=now.mhz)
        wall_s = now.wall_s - self.wall_s
        if wall_s < _MIN_SECONDS or not self.times:
            return clocks
        return disturbances(self, now)


def disturbances(before: Watch, after: Watch) -> Disturbances:
    """Return what happened between two moments, both of which know the times of all cores."""
    wall_s, own_cpu_s = after.wall_s - before.wall_s, after.cpu_s - before.cpu_s
    cores = set(before.cores or before.times) & before.times.keys() & after.times.keys()
    elsewhere = (before.times.keys() & after.times.keys()) - cores

    def passed(which: set[int]) -> CoreTimes:
        return CoreTimes(
            sum(after.times[core].busy_s - before.times[core].busy_s for core in which),
            sum(after.times[core].stolen_s - before.times[core].stolen_s for core in which),
        )

    own = passed(cores)
    available_s = wall_s * max(1, len(cores))
    return Disturbances(
        others_share=_rounded(max(0.0, own.busy_s - own_cpu_s) / available_s),
        stolen_share=_rounded(max(0.0, own.stolen_s) / available_s),
        busy_elsewhere=_rounded(max(0.0, passed(elsewhere).busy_s) / wall_s),
        first_mhz=before.mhz,
        last_mhz=after.mhz,
    )


def _core_times() -> dict[int, CoreTimes]:
    """Read what every core did since the start; empty where the system does not say."""
    with suppress(OSError):  # Android may forbid it
        times = psutil.cpu_times(percpu=True)
        return dict(zip(_online_cores(len(times)), map(_core_time, times), strict=False))
    return {}


def _core_time(time: Any) -> CoreTimes:
    kinds = ("user", "nice", "system", "irq", "softirq")  # a guest's is in the user's
    busy_s = sum(getattr(time, kind, 0.0) for kind in kinds)
    return CoreTimes(busy_s, getattr(time, "steal", 0.0))


def _online_cores(num_cores: int) -> Sequence[int]:
    """Return the numbers of the cores that are counted: a phone may have switched some off."""
    with suppress(OSError):
        return numbers_in((_CORES / "online").read_text())
    return range(num_cores)


def _mean_mhz(cores: tuple[int, ...] | None) -> float | None:
    folders = (
        _CORES.glob("cpu[0-9]*") if cores is None else (_CORES / f"cpu{core}" for core in cores)
    )
    clocks: list[int] = []
    for folder in folders:
        with suppress(OSError, ValueError):
            clocks.append(int((folder / "cpufreq" / "scaling_cur_freq").read_text()))
    return round(sum(clocks) / len(clocks) / 1000, 1) if clocks else None


def _rounded(value: float) -> float:
    return round(value, 4)

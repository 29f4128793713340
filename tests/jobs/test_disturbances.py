"""What happens beside a process, from what the system counts."""

import os
import subprocess
import sys
from time import perf_counter

import pytest

from reefl_edge.jobs.disturbances import (
    CoreTimes,
    Disturbances,
    Waits,
    Watch,
    compute_on,
    disturbances,
)

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts it")


def at(
    wall_s: float, cpu_s: float, *busy_s: float, stolen_s: float = 0.0, mhz: float | None = None
) -> Watch:
    """Return what is counted at a moment, of a process that computes on cores 0 and 1."""
    times = {core: CoreTimes(busy, stolen_s) for core, busy in enumerate(busy_s)}
    return Watch(cores=(0, 1), wall_s=wall_s, cpu_s=cpu_s, times=times, mhz=mhz)


def test_what_its_cores_did_beyond_its_own_work_is_others() -> None:
    before = at(100.0, 5.0, 40.0, 40.0, 40.0, 40.0, mhz=2000)
    after = at(110.0, 15.0, 49.0, 45.0, 47.0, 41.0, stolen_s=1.0, mhz=1500)

    assert disturbances(before, after) == Disturbances(
        others_share=0.2,  # 14 s of work on 20 s of cores, 10 s of them its own
        stolen_share=0.1,
        busy_elsewhere=0.8,
        first_mhz=2000,
        last_mhz=1500,
    )


def test_counting_in_hundredths_never_gives_less_than_nothing() -> None:
    found = disturbances(at(0.0, 0.0, 0.0, 0.0), at(1.0, 1.005, 1.0, 0.0))

    assert (found.others_share, found.busy_elsewhere) == (0, 0)


@LINUX
def test_a_moment_is_too_short_to_tell_shares() -> None:
    assert Watch.start(None).since().others_share is None


@LINUX
def test_a_thread_that_shares_its_core_waits() -> None:
    cores = sorted(os.sched_getaffinity(0))
    program = (
        "import os, sys\n"
        "from time import perf_counter\n"
        "from reefl_edge.jobs.disturbances import Waits, compute_on\n"
        f"compute_on(({cores[0]},))\n"
        "waits, began = Waits(), perf_counter()\n"
        "while perf_counter() - began < 1.0: pass\n"
        "print(waits.so_far_ms())\n"
    )

    pair = [
        subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) for _ in range(2)
    ]

    assert max(float(process.communicate()[0]) for process in pair) > 50


@LINUX
def test_a_process_keeps_to_its_cores() -> None:
    before = os.sched_getaffinity(0)
    try:
        compute_on((min(before),))
        assert os.sched_getaffinity(0) == {min(before)}
        with pytest.raises(OSError, match="Invalid argument"):
            compute_on((100_000,))
    finally:
        os.sched_setaffinity(0, before)


def test_waits_can_be_asked_for_anywhere() -> None:
    waits = Waits()
    so_far_ms, began = waits.so_far_ms(), perf_counter()
    waits.close()

    assert so_far_ms is None or 0 <= so_far_ms <= 1e9
    assert began > 0


def test_a_share_below_nothing_is_no_share() -> None:
    with pytest.raises(ValueError, match="out of range"):
        Disturbances(others_share=-0.1)

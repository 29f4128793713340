"""When are samples not to be trusted, and why?

A *verdict* is one of four words:

- ``contended``: other processes, or other virtual machines, had the cores meanwhile;
- ``throttled``: the device slowed down while it was measured, as heat makes it;
- ``noisy``: the samples say too little about their percentiles, or disagree for no known reason;
- ``valid``: none of these.

The first that holds, in this order. The rule knows the samples and what the system counted beside
them (``jobs/disturbances.py``), nothing else: whoever has a report can apply it again. Where a
system counts nothing, only what the samples themselves show is judged.
"""

from collections.abc import Iterator
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from reefl_edge.bootstrap import Interval
from reefl_edge.jobs.outcome import Measurement

Verdict = Literal["valid", "noisy", "throttled", "contended"]

# Fewer samples have no p90 to speak of.
MIN_SAMPLES = 5

# Of the time of the process's cores. On a quiet machine others took 0 to 1.5%, beside one busy
# loop 29% and more (tests/profiling/recorded).
MAX_OTHERS_SHARE = 0.05
MAX_STOLEN_SHARE = 0.02
# Cores besides its own share caches, memory and heat with them. An idle phone keeps a quarter busy.
MAX_BUSY_ELSEWHERE = 0.5
# A run is held up if its threads waited for so much of its time; the p90 is out of reach if more
# than this share of the runs were.
HELD_UP = 0.05
MAX_HELD_UP_SHARE = 0.2
# One thread that computes without a pause works as long as the clock runs.
MIN_WORK_OF_ONE_THREAD = 0.9

# How much longer runs may take at the end than at the beginning, and how much lower a clock may be.
MAX_DRIFT = 0.10
# How wide the 95% interval may be, beside the median: of the median itself, and of the p90.
MAX_MEDIAN_WIDTH = 0.15
MAX_P90_WIDTH = 0.35

# A sitting of fewer samples has no beginning and no end.
_MIN_FOR_DRIFT = 6


class Judgement(NamedTuple):
    """A verdict, and what speaks against the samples; None if nothing does."""

    verdict: Verdict
    reason: str | None


class Intervals(NamedTuple):
    """Where the median and the p90 lie with 95% confidence."""

    median: Interval
    p90: Interval


def judge(measurement: Measurement, intervals: Intervals, *, threads: int) -> Judgement:
    """Judge samples.

    Args:
        measurement: The samples, in the order in which they were taken.
        intervals: Of their latency.
        threads: Threads that computed.
    """
    num_samples = len(measurement.latency_ms_samples)
    if num_samples < MIN_SAMPLES:
        return Judgement("noisy", f"too few samples: {num_samples}, need {MIN_SAMPLES}")
    for reason in _contention(measurement, threads):
        return Judgement("contended", reason)
    for reason in _slowing_down(measurement):
        return Judgement("throttled", reason)
    for reason in _noise(measurement, intervals):
        return Judgement("noisy", reason)
    return Judgement("valid", None)


def _contention(measurement: Measurement, threads: int) -> Iterator[str]:
    """Yield what others took; of several processes, the one that was disturbed most counts."""
    seen = [sitting.disturbances for sitting in measurement.sittings]
    others = max((each.others_share or 0 for each in seen), default=0)
    if others > MAX_OTHERS_SHARE:
        yield f"other processes took {others:.0%} of the time of its cores"
    stolen = max((each.stolen_share or 0 for each in seen), default=0)
    if stolen > MAX_STOLEN_SHARE:
        yield f"other virtual machines took {stolen:.0%} of the time of its cores"
    elsewhere = max((each.busy_elsewhere or 0 for each in seen), default=0)
    if elsewhere > MAX_BUSY_ELSEWHERE:
        yield f"other processes kept {elsewhere:.1f} of the device's other cores busy"
    latency = np.array(measurement.latency_ms_samples)
    if measurement.wait_ms_samples is not None:
        held_up = np.mean(np.array(measurement.wait_ms_samples) > HELD_UP * latency)
        if held_up > MAX_HELD_UP_SHARE:
            yield f"in {held_up:.0%} of the runs, threads waited for a core"
    work = sum(measurement.cpu_ms_samples) / latency.sum()
    if threads == 1 and work < MIN_WORK_OF_ONE_THREAD:
        yield f"its one thread worked only {work:.0%} of the time"


def _slowing_down(measurement: Measurement) -> Iterator[str]:
    """Yield what became slower: the clock, or runs in time and work alike."""
    clocks = [
        (each.first_mhz, each.last_mhz)
        for each in (sitting.disturbances for sitting in measurement.sittings)
        if each.first_mhz is not None and each.last_mhz is not None
    ]
    if clocks:
        first, last = clocks[0][0], min(last for _, last in clocks)
        if last < (1 - MAX_DRIFT) * first:
            yield f"the clock fell from {first:.0f} to {last:.0f} MHz"
    wall = _drift(measurement.latency_ms_samples, measurement)
    work = _drift(measurement.cpu_ms_samples, measurement)
    if min(wall, work) > MAX_DRIFT:
        yield f"runs took {wall:+.0%} at the end against the beginning, and {work:+.0%} of work"


def _noise(measurement: Measurement, intervals: Intervals) -> Iterator[str]:
    drift = _drift(measurement.latency_ms_samples, measurement)
    if abs(drift) > MAX_DRIFT:
        yield f"drift: runs took {drift:+.0%} at the end against the beginning"
    median = np.median(measurement.latency_ms_samples)
    for name, (low, high), limit in (
        ("median", intervals.median, MAX_MEDIAN_WIDTH),
        ("p90", intervals.p90, MAX_P90_WIDTH),
    ):
        width = (high - low) / median
        if width > limit:
            yield (
                f"the {name} lies anywhere from {low:.4g} to {high:.4g} ms, {width:.0%} of the "
                "median apart"
            )


def _drift(samples: tuple[float, ...], measurement: Measurement) -> float:
    """Return by how much samples grew: over all of them, or within the processes that took them.

    A device that heats up in every process and cools down between them drifts within each.
    """
    series = np.array(samples)
    ends = np.cumsum([sitting.num_samples for sitting in measurement.sittings])[:-1]
    within = [_growth(part) for part in np.split(series, ends) if len(part) >= _MIN_FOR_DRIFT]
    drifts = [_growth(series)]
    if within:
        drifts.append(float(np.median(within)))
    return max(drifts, key=abs)


def _growth(series: NDArray[np.float64]) -> float:
    """Return by how much the median of the last third lies above that of the first."""
    third = max(1, len(series) // 3)
    first, last = np.median(series[:third]), np.median(series[-third:])
    return float(last / first - 1) if first > 0 else 0.0

"""How do samples become figures?

The only place where percentiles are computed: whoever prints or compares a measurement takes them
from here. Percentiles interpolate between samples (numpy's default).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from reefl_edge.bootstrap import percentile_intervals
from reefl_edge.jobs.outcome import Measurement
from reefl_edge.profiling.verdict import Intervals, Verdict, judge


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The figures of one measurement.

    Attributes:
        num_samples: Runs at steady state.
        p50_ms: Median latency; the other percentiles, the least and the mean likewise.
        p50_low_ms: Where the median lies with 95% confidence, from here (bootstrap) ...
        p50_high_ms: ... to here.
        p90_low_ms: The same for the 90th percentile.
        p90_high_ms: What a budget is held against.
        cpu_p50_ms: Median processor time of a run, all threads together.
        peak_above_baseline_mib: Most memory the model and its runs took.
        verdict: Whether the samples are to be trusted.
        reason: Why not; None if they are.
    """

    num_samples: int
    p50_ms: float
    p90_ms: float
    p95_ms: float
    p99_ms: float
    min_ms: float
    mean_ms: float
    p50_low_ms: float
    p50_high_ms: float
    p90_low_ms: float
    p90_high_ms: float
    cpu_p50_ms: float
    peak_above_baseline_mib: float
    verdict: Verdict
    reason: str | None


def summarise(measurement: Measurement, *, threads: int) -> Summary:
    """Derive the figures of a measurement from its samples.

    Args:
        measurement: The samples.
        threads: Threads that computed.
    """
    latencies = np.array(measurement.latency_ms_samples)
    p50, p90, p95, p99 = (_figure(value) for value in np.percentile(latencies, (50, 90, 95, 99)))
    sizes = [sitting.num_samples for sitting in measurement.sittings] or [len(latencies)]
    intervals = Intervals(*percentile_intervals(latencies, (50, 90), group_sizes=sizes))
    verdict, reason = judge(measurement, intervals, threads=threads)
    return Summary(
        num_samples=len(latencies),
        p50_ms=p50,
        p90_ms=p90,
        p95_ms=p95,
        p99_ms=p99,
        min_ms=_figure(latencies.min()),
        mean_ms=_figure(latencies.mean()),
        p50_low_ms=_figure(intervals.median[0]),
        p50_high_ms=_figure(intervals.median[1]),
        p90_low_ms=_figure(intervals.p90[0]),
        p90_high_ms=_figure(intervals.p90[1]),
        cpu_p50_ms=_figure(np.median(measurement.cpu_ms_samples)),
        peak_above_baseline_mib=_figure(measurement.peak_mib - measurement.baseline_mib),
        verdict=verdict,
        reason=reason,
    )


def _figure(value: float | np.floating[Any]) -> float:
    """Round to what the clock resolves: a tenth of a microsecond."""
    return round(float(value), 4)

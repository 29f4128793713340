"""How do samples become figures, and when are they not to be trusted?

The only place where percentiles are computed: whoever prints or compares a measurement takes them
from here. Percentiles interpolate between samples (numpy's default). A measurement is *noisy* when
its samples disagree among themselves; what made them disagree, heat or other programs, they do not
tell.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from reefl_edge.bootstrap import median_interval
from reefl_edge.jobs.outcome import Measurement

Validity = Literal["valid", "noisy"]

# Judged against: fewer samples have no p90 to speak of.
MIN_SAMPLES = 5
# The budget is held against the p90; where it lies further above the median than this, another run
# would find another one.
MAX_SPREAD = 0.25
# How far the median of the last third of the samples may lie from that of the first third.
MAX_DRIFT = 0.10


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The figures of one measurement.

    Attributes:
        num_samples: Runs at steady state.
        p50_ms: Median latency; the other percentiles, the least and the mean likewise.
        p50_low_ms: Where the median lies with 95% confidence, from here (bootstrap) ...
        p50_high_ms: ... to here.
        cpu_p50_ms: Median processor time of a run, all threads together.
        peak_above_baseline_mib: Most memory the model and its runs took.
        validity: Whether the samples agree with each other.
        reason: Why they do not; None if they do.
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
    cpu_p50_ms: float
    peak_above_baseline_mib: float
    validity: Validity
    reason: str | None


def summarise(measurement: Measurement) -> Summary:
    """Derive the figures of a measurement from its samples."""
    latencies = np.array(measurement.latency_ms_samples)
    p50, p90, p95, p99 = (_figure(value) for value in np.percentile(latencies, (50, 90, 95, 99)))
    low, high = median_interval(latencies)
    reason = _doubt(latencies)
    return Summary(
        num_samples=len(latencies),
        p50_ms=p50,
        p90_ms=p90,
        p95_ms=p95,
        p99_ms=p99,
        min_ms=_figure(latencies.min()),
        mean_ms=_figure(latencies.mean()),
        p50_low_ms=_figure(low),
        p50_high_ms=_figure(high),
        cpu_p50_ms=_figure(np.median(measurement.cpu_ms_samples)),
        peak_above_baseline_mib=_figure(measurement.peak_mib - measurement.baseline_mib),
        validity="valid" if reason is None else "noisy",
        reason=reason,
    )


def _figure(value: float | np.floating[Any]) -> float:
    """Round to what the clock resolves: a tenth of a microsecond."""
    return round(float(value), 4)


def _doubt(latencies: NDArray[np.float64]) -> str | None:
    """Say why samples, in the order they were taken, are not to be trusted; None if they are."""
    if len(latencies) < MIN_SAMPLES:
        return f"too few samples: {len(latencies)}, need {MIN_SAMPLES}"
    third = len(latencies) // 3
    first, last = np.median(latencies[:third]), np.median(latencies[-third:])
    drift = last / first - 1
    if abs(drift) > MAX_DRIFT:
        return f"drift: the last third of the samples takes {drift:+.0%} against the first"
    p50, p90 = np.percentile(latencies, (50, 90))
    spread = p90 / p50 - 1
    if spread > MAX_SPREAD:
        return f"spread: the p90 lies {spread:.0%} above the p50"
    return None

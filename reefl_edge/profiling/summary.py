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

from reefl_edge.jobs.outcome import Measurement

Validity = Literal["valid", "noisy"]

# Judged against: fewer samples have no p90 to speak of.
MIN_SAMPLES = 5
# The budget is held against the p90; where it lies further above the median than this, another run
# would find another one.
MAX_SPREAD = 0.25
# How far the median of the last third of the samples may lie from that of the first third.
MAX_DRIFT = 0.10

_RESAMPLES = 1000
# A quick network gives as many samples as there is memory for: they are drawn in parts.
_DRAWN_AT_ONCE = 1_000_000
_CONFIDENCE_PERCENT = (2.5, 97.5)


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
    low, high = bootstrap_median(latencies)
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


def bootstrap_median(samples: NDArray[np.float64]) -> tuple[float, float]:
    """Return where the median of ``samples`` lies with 95% confidence.

    Medians of samples drawn again with replacement, always from the same seed, so that a report
    read again says the same. Source: Efron and Tibshirani 1993, chapter 13 (percentile interval).
    """
    generator = np.random.default_rng(0)
    at_once = max(1, _DRAWN_AT_ONCE // len(samples))
    medians = []
    for start in range(0, _RESAMPLES, at_once):
        size = (min(at_once, _RESAMPLES - start), len(samples))
        medians.append(np.median(generator.choice(samples, size=size), axis=1))
    low, high = np.percentile(np.concatenate(medians), _CONFIDENCE_PERCENT)
    return float(low), float(high)


def bootstrap_ratio(
    samples: NDArray[np.float64], reference: NDArray[np.float64]
) -> tuple[float, float]:
    """Return where the ratio of two medians lies with 95% confidence.

    Sample i of both was taken in the same round, one right after the other, and they are drawn
    together: what slowed the machine for a while slowed both.
    """
    generator = np.random.default_rng(0)
    rounds = generator.integers(0, len(samples), (_RESAMPLES, len(samples)))
    ratios = np.median(samples[rounds], axis=1) / np.median(reference[rounds], axis=1)
    low, high = np.percentile(ratios, _CONFIDENCE_PERCENT)
    return float(low), float(high)


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

"""Between which bounds does a figure lie that was computed from a few samples?

The percentile interval of the bootstrap: the figure is computed again from samples drawn with
replacement, always from the same seed, so that whoever computes it again finds the same.
Source: Efron and Tibshirani 1993, chapter 13.

Letters: N samples, R times they are drawn again.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

_RESAMPLES = 1000
# Bounds the memory that a long series takes.
_DRAWN_AT_ONCE = 1_000_000
_CONFIDENCE_PERCENT = (2.5, 97.5)

Series = NDArray[np.float64]
Interval = tuple[float, float]


def median_interval(samples: Series) -> Interval:
    """Return where the median of samples (N,) lies with 95% confidence."""
    return _interval(lambda drawn: np.median(samples[drawn], axis=1), len(samples))


def mean_interval(samples: Series) -> Interval:
    """Return where the mean of samples (N,) lies with 95% confidence."""
    return _interval(lambda drawn: samples[drawn].mean(axis=1), len(samples))


def median_ratio_interval(samples: Series, reference: Series) -> Interval:
    """Return where the ratio of the medians of two series (N,) lies with 95% confidence.

    Sample i of both was taken in the same round, one right after the other, and they are drawn
    together: what slowed the machine for a while slowed both.
    """
    return _interval(
        lambda drawn: np.median(samples[drawn], axis=1) / np.median(reference[drawn], axis=1),
        len(samples),
    )


def _interval(figure: Callable[[NDArray[np.int64]], Series], num_samples: int) -> Interval:
    """Return the interval of a figure, which is called with the indices drawn, (R, N)."""
    generator = np.random.default_rng(0)
    at_once = max(1, _DRAWN_AT_ONCE // num_samples)
    figures = []
    for start in range(0, _RESAMPLES, at_once):
        size = (min(at_once, _RESAMPLES - start), num_samples)
        figures.append(figure(generator.integers(0, num_samples, size)))
    low, high = np.percentile(np.concatenate(figures), _CONFIDENCE_PERCENT)
    return float(low), float(high)

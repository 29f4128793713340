"""Between which bounds does a figure lie that was computed from a few samples?

The percentile interval of the bootstrap: the figure is computed again from samples drawn with
replacement, always from the same seed, so that whoever computes it again finds the same.
Source: Efron and Tibshirani 1993, chapter 13.

Samples that one process took are alike, and less like those of another: where the samples are of
several, processes are drawn first, and samples of each then (Davison and Hinkley 1997, 3.8).

Letters: N samples, R times they are drawn again.
"""

from collections.abc import Callable, Iterator, Sequence

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


def percentile_intervals(
    samples: Series, percentiles: Sequence[float], *, group_sizes: Sequence[int]
) -> tuple[Interval, ...]:
    """Return where percentiles of samples (N,) lie with 95% confidence.

    Args:
        samples: Those of one group after those of another.
        percentiles: Such as 50 and 90.
        group_sizes: How many samples each group has.
    """
    sizes = np.array(group_sizes)
    starts, slots = np.cumsum(sizes) - sizes, np.repeat(np.arange(len(sizes)), sizes)
    figures = []
    for generator, num in _drawings(len(samples)):
        # The group that stands in the place of each, then a sample of it for each place: (R, N).
        groups = generator.integers(0, len(sizes), (num, len(sizes)))[:, slots]
        places = generator.random((num, len(samples))) * sizes[groups]
        drawn = starts[groups] + places.astype(np.int64)
        figures.append(np.percentile(samples[drawn], percentiles, axis=1))
    return tuple(_bounds(figure) for figure in np.concatenate(figures, axis=1))


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
    figures = [
        figure(generator.integers(0, num_samples, (num, num_samples)))
        for generator, num in _drawings(num_samples)
    ]
    return _bounds(np.concatenate(figures))


def _drawings(num_samples: int) -> Iterator[tuple[np.random.Generator, int]]:
    """Yield how many times to draw at once, and from what, until all is drawn."""
    generator = np.random.default_rng(0)
    at_once = max(1, _DRAWN_AT_ONCE // num_samples)
    for start in range(0, _RESAMPLES, at_once):
        yield generator, min(at_once, _RESAMPLES - start)


def _bounds(figures: Series) -> Interval:
    low, high = np.percentile(figures, _CONFIDENCE_PERCENT)
    return float(low), float(high)

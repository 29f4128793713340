"""Which few numbers stand best for a group of weights?

Those of the least squared error, which k-means approaches step by step, here without chance, so
that equal weights find equal palettes. The weights are counted in narrow bins first: a step then
costs next to nothing, and all groups take it at once. When they have settled, each tries whether
two neighbouring numbers may become one, and another two: k-means alone gives a few weights far out
either no number or too many.

Letters: G groups, n weights of a group, K numbers of a palette, B bins.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

PALETTE_SIZE = 16

# So many that it hardly matters on which side of a boundary the weights of one bin are.
_NUM_BINS = 4096
# So few that the density of a group's weights shows.
_NUM_WIDE_BINS = 64
# How much more a number must be worth elsewhere: rounding must not move it to and fro.
_WORTH = 1.01
# Ten times what weights of networks take.
_MAX_STEPS = 1000

Floats = NDArray[np.float64]
# The bins at which each number but the first takes over, ascending, (G, K - 1).
Boundaries = NDArray[np.intp]


def palettize(groups: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Find a palette for each group of weights.

    Args:
        groups: The weights, (G, n).

    Returns:
        The palettes, ascending, (G, K), and of each weight the index of its number, (G, n).
    """
    histograms, bins = _count(groups)
    boundaries = histograms.first_boundaries()
    for _ in range(_MAX_STEPS):
        palettes = histograms.means(boundaries)
        moved = histograms.bin_at((palettes[:, :-1] + palettes[:, 1:]) / 2)
        if np.array_equal(moved, boundaries):
            moved = histograms.swapped(boundaries, palettes)
            if np.array_equal(moved, boundaries):
                break
        boundaries = moved
    index_of_bin = np.zeros((len(groups), _NUM_BINS), np.uint8)
    for boundary in boundaries.T:
        index_of_bin += np.arange(_NUM_BINS) >= boundary[:, None]
    return palettes.astype(np.float32), np.take_along_axis(index_of_bin, bins, axis=1)


@dataclass(frozen=True, slots=True)
class _Histograms:
    """How the weights of each group are spread over bins of one width.

    Attributes:
        low: Where the bins begin, (G, 1).
        width: How wide one is, (G, 1).
        counts: How many weights lie below each bin, and in all, (G, B + 1).
        sums: Their sums, (G, B + 1).
    """

    low: Floats
    width: Floats
    counts: Floats
    sums: Floats

    def first_boundaries(self) -> Boundaries:
        """Return boundaries to begin with: numbers as dense as the cube root of the weights is.

        Source: Panter and Dite 1951, the best density of many numbers.
        """
        per_wide_bin = _NUM_BINS // _NUM_WIDE_BINS
        density = np.cbrt(np.diff(self.counts[:, ::per_wide_bin])).repeat(per_wide_bin, axis=1)
        shares = density.cumsum(axis=1) / density.sum(axis=1, keepdims=True)
        steps = np.arange(1, PALETTE_SIZE) / PALETTE_SIZE
        return np.stack([np.searchsorted(row, steps) for row in shares]) + 1

    def means(self, boundaries: Boundaries) -> Floats:
        """Return the means of the weights between boundaries, (G, K); of none, the middle."""
        ends = _ends(boundaries)
        counts, sums = (np.diff(below) for below in self._below(ends))
        middles = self.low + self.width * (ends[:, :-1] + ends[:, 1:]) / 2
        return np.where(counts > 0, sums / np.maximum(counts, 1), middles)

    def bin_at(self, numbers: Floats) -> Boundaries:
        """Return the bins that begin at numbers."""
        return np.rint((numbers - self.low) / self.width).astype(np.intp)

    def swapped(self, boundaries: Boundaries, palettes: Floats) -> Boundaries:
        """Return boundaries of which the least useful one parts other weights, if that is better.

        Args:
            boundaries: The boundaries.
            palettes: The means between them, (G, K).
        """
        ends, rows = _ends(boundaries), np.arange(len(boundaries))
        splits = np.clip(self.bin_at(palettes), ends[:, :-1], ends[:, 1:])
        losses = self._saved(ends[:, :-2], boundaries, ends[:, 2:])
        gains = self._saved(ends[:, :-1], splits, ends[:, 1:])
        least = losses.argmin(axis=1)
        gains[rows, least] = gains[rows, least + 1] = 0  # where the boundary itself is
        best = gains.argmax(axis=1)
        is_better = gains[rows, best] > _WORTH * losses[rows, least]
        swapped = boundaries.copy()
        swapped[rows, least] = np.where(is_better, splits[rows, best], boundaries[rows, least])
        return np.sort(swapped, axis=1)

    def _saved(self, first: Boundaries, middle: Boundaries, last: Boundaries) -> Floats:
        """Return the squared error that a boundary in the middle of weights saves."""
        (n_first, s_first), (n_middle, s_middle), (n_last, s_last) = map(
            self._below, (first, middle, last)
        )
        left, right = n_middle - n_first, n_last - n_middle
        apart = (s_middle - s_first) * right - (s_last - s_middle) * left
        return np.square(apart) / np.maximum(left * right * (left + right), 1)

    def _below(self, bins: Boundaries) -> tuple[Floats, Floats]:
        """Return how many weights lie below bins, and their sums."""
        rows = np.arange(len(bins))[:, None]
        return self.counts[rows, bins], self.sums[rows, bins]


def _ends(boundaries: Boundaries) -> Boundaries:
    """Return boundaries with the first and the last end, (G, K + 1)."""
    first = np.zeros((len(boundaries), 1), boundaries.dtype)
    return np.hstack((first, boundaries, first + _NUM_BINS))


def _count(groups: NDArray[np.float32]) -> tuple[_Histograms, NDArray[np.intp]]:
    """Return how the weights of each group are spread, and in which bin each of them is, (G, n)."""
    low, high = groups.min(axis=1, keepdims=True), groups.max(axis=1, keepdims=True)
    width = np.where(high > low, high - low, 1) / np.float32(_NUM_BINS)
    bins = np.minimum((groups - low) / width, _NUM_BINS - 1).astype(np.intp)
    flat = (bins + _NUM_BINS * np.arange(len(groups))[:, None]).ravel()
    counts, sums = (
        np.bincount(flat, weights, minlength=len(groups) * _NUM_BINS).reshape(-1, _NUM_BINS)
        for weights in (None, groups.ravel())
    )
    return _Histograms(low, width, *map(_below, (counts, sums))), bins


def _below(per_bin: NDArray[Any]) -> Floats:
    """Return the sums of what is below each bin, and of everything, (G, B + 1)."""
    return np.pad(per_bin.cumsum(axis=1, dtype=np.float64), ((0, 0), (1, 0)))

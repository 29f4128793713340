"""Which sum of known terms explains positive figures, and how far off is it elsewhere?

The weights of the terms are not negative (nothing takes less than no time), and those with the
least squares of *relative* errors: a figure ten times as large may be off by ten times as much. How
far off a prediction is is measured, by leaving out: one figure, or all figures of a group, each in
turn, and predicting what was left out from the others. Left out in vain is what is smaller than all
others: it consists of terms that the others tell nothing of.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import exp, inf, log, sqrt
from statistics import NormalDist, fmean

import numpy as np
from numpy.typing import NDArray

Terms = tuple[float, ...]

_COVERAGE = 0.90


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """A figure that was found.

    Attributes:
        terms: What it may consist of.
        figure: What was found, positive.
        model: Which others are of the same model on the same device.
        device: Which others are of the same device.
    """

    terms: Terms
    figure: float
    model: Hashable
    device: Hashable


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """How far predictions were off that left out what they predicted.

    Attributes:
        log_error: The root of the mean square of the logarithms' errors.
        num_independent: How many of them say something of their own: figures, or groups of them.
    """

    log_error: float
    num_independent: int

    @property
    def half_width(self) -> float:
        """How far the logarithm of a figure lies from its prediction, in 90% of all cases."""
        return _student(self.num_independent - 1) * self.log_error


def fitted_weights(observations: Sequence[Observation]) -> NDArray[np.float64]:
    """Return the weight of each term."""
    terms = np.array([each.terms for each in observations])
    relative = terms / np.array([[each.figure] for each in observations])
    ones = np.ones(len(observations))
    best, best_error = np.zeros(terms.shape[1]), inf
    # The best weights with none below zero are the best of some of the terms alone.
    for count in range(1, terms.shape[1] + 1):
        for chosen in combinations(range(terms.shape[1]), count):
            part = relative[:, chosen]
            weights = np.linalg.lstsq(part, ones, rcond=None)[0]
            error = float(np.square(part @ weights - ones).sum())
            if (weights >= 0).all() and error < best_error:
                best, best_error = np.zeros(terms.shape[1]), error
                best[list(chosen)] = weights
    return best


def log_offset(weights: NDArray[np.float64], known: Sequence[Observation]) -> float:
    """Return by how much the logarithms of figures lie above the sum of their terms, on average."""
    return fmean(log(each.figure / _sum(weights, each.terms)) for each in known) if known else 0.0


def predicted(weights: NDArray[np.float64], terms: Terms, known: Sequence[Observation]) -> float:
    """Return the figure with some terms, whose neighbours are known."""
    return _sum(weights, terms) * exp(log_offset(weights, known))


def spread_within_models(observations: Sequence[Observation]) -> Spread | None:
    """Leave out one figure at a time: the others of its model are known.

    Returns:
        None if fewer than two figures could be left out.
    """
    return _spread(
        observations,
        left_out=lambda one, other: one is other,
        known=lambda one, other: one.model == other.model,
        group=id,
    )


def spread_across_models(observations: Sequence[Observation]) -> Spread | None:
    """Leave out one model at a time: the others on its device are known.

    Returns:
        None if fewer than two models could be left out.
    """
    return _spread(
        observations,
        left_out=lambda one, other: one.model == other.model,
        known=lambda one, other: one.device == other.device,
        group=lambda one: one.model,
    )


def spread_across_devices(observations: Sequence[Observation]) -> Spread | None:
    """Leave out one device at a time.

    Returns:
        None if there are fewer than three: two say nothing of how devices differ.
    """
    devices = {each.device for each in observations}
    if len(devices) < 3:
        return None
    return _spread(
        observations,
        left_out=lambda one, other: one.device == other.device,
        known=lambda _one, _other: False,
        group=lambda one: one.device,
        needs_known=False,
    )


_Relation = Callable[[Observation, Observation], bool]


def _spread(
    observations: Sequence[Observation],
    *,
    left_out: _Relation,
    known: _Relation,
    group: Callable[[Observation], Hashable],
    needs_known: bool = True,
) -> Spread | None:
    errors, groups = [], set()
    for one in observations:
        others = [other for other in observations if not left_out(one, other)]
        neighbours = [other for other in others if known(one, other)]
        if not others or (needs_known and not neighbours):
            continue
        weights = fitted_weights(others)
        if _sum(weights, one.terms) < min(_sum(weights, other.terms) for other in others):
            continue
        errors.append(log(one.figure / predicted(weights, one.terms, neighbours)))
        groups.add(group(one))
    if len(groups) < 2:
        return None
    return Spread(log_error=sqrt(fmean(error**2 for error in errors)), num_independent=len(groups))


def _sum(weights: NDArray[np.float64], terms: Terms) -> float:
    return float(weights @ np.array(terms))


def _student(freedom: int) -> float:
    """Return the quantile of Student's t that 90% lie within, on both sides together.

    Source: Cornish-Fisher expansion, Abramowitz and Stegun 26.7.5, the first two terms.
    """
    normal = NormalDist().inv_cdf(0.5 + _COVERAGE / 2)
    cubic = (normal**3 + normal) / 4
    quintic = (5 * normal**5 + 16 * normal**3 + 3 * normal) / 96
    return normal + cubic / freedom + quintic / freedom**2

"""Which thresholds keep a promise on new images, as far as these images show?

Learn then Test: candidates stand in an order that does not come from the images they are tested on,
and are tested one after the other, each against "it breaks the promise", until one is not refuted.
All before it are certified: that any of them breaks the promise is as unlikely as was asked for,
however many there are (fixed-sequence testing).

Source: Angelopoulos, Bates, Candes, Jordan and Lei 2021, "Learn then test: calibrating predictive
algorithms to achieve risk control".

Letters: T candidates, E exits, N examples.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from math import ceil, inf
from typing import assert_never

import numpy as np
from numpy.typing import NDArray

from reefl_edge.bundles.thresholds import Bound, Promise
from reefl_edge.errors import PromiseError
from reefl_edge.thresholds.bounds import Losses, PValues, betting_p_values, binomial_p_values
from reefl_edge.thresholds.candidates import Ladder
from reefl_edge.thresholds.exits import ExitAnswers

# More images than anybody will collect for this.
_MOST_IMAGES = 1_000_000
# Candidates tested in one go: most calibrations end long before the ladder does.
_TESTED_AT_ONCE = 16


@dataclass(frozen=True, slots=True, eq=False)
class Certified:
    """The candidate that was chosen of those that are certified.

    Attributes:
        thresholds: One per exit but the last.
        exit_indices: Where each example stops by them, (N,).
        p_value: How likely such examples are, at most, if they broke the promise.
    """

    thresholds: tuple[float, ...]
    exit_indices: NDArray[np.int64]
    p_value: float


# From how many losses on, that the limit allows, betting is the tighter bound of accuracy.
_LOSSES_TO_BET_ON = 6


def default_bound(promise: Promise, num_images: int) -> Bound:
    """Return the bound that is the tighter one for a promise, whatever the images show.

    Of accuracy, betting counts what stopping early gets right where the deepest exit is wrong, but
    takes more images to begin with. What each saves, docs/thresholds.md shows.
    """
    match promise.kind:
        case "max-drop":
            allowed = num_images * promise.limit / 100
            return "betting" if allowed >= _LOSSES_TO_BET_ON else "binomial"
        case "max-disagreement":
            return "binomial"
        case "max-mean-ms":
            return "betting"


def check_bound(bound: Bound, promise: Promise) -> None:
    """Refuse a bound that says nothing about a promise.

    Raises:
        ValueError: It counts losses, and the promise is about time.
    """
    if bound == "binomial" and promise.kind == "max-mean-ms":
        raise ValueError("the binomial bound counts answers, and max-mean-ms is about time")


def certify(answers: ExitAnswers, ladder: Ladder, promise: Promise, bound: Bound) -> Certified:
    """Choose thresholds that are certified to keep a promise.

    Of accuracy and of answers: those that save the most time. Of time: those that are right most
    often, or, where the classes are not known, agree most often with the deepest exit.

    Args:
        answers: What the exits say of examples that the ladder was not found on, in an order that
            says nothing about them.
        ladder: The candidates from the strictest down, (T, E - 1).
        promise: The promise.
        bound: How to bound the loss.

    Raises:
        PromiseError: No early stop is certified; with how many images one would be, and which
            promise could be kept.
        ValueError: The bound, or the answers, do not fit the promise.
    """
    check_bound(bound, promise)
    is_time = promise.kind == "max-mean-ms"
    # The safest first: for a promise of time that is the quickest.
    ordered = np.concatenate([ladder[::-1], np.ones((1, ladder.shape[1]))]) if is_time else ladder
    taken, p_values = _refuted(answers, ordered, promise, bound)
    # Of equals the quickest: the first where time is promised, else the last.
    chosen = len(p_values) - 1
    if is_time and len(p_values):
        chosen = int(_cost(answers, taken).argmin())
    if not len(p_values) or not (is_time or (taken[chosen] < answers.num_exits - 1).any()):
        raise PromiseError(_refusal(answers, ordered, promise, bound))
    return Certified(tuple(map(float, ordered[chosen])), taken[chosen], float(p_values[chosen]))


def _refuted(
    answers: ExitAnswers, ordered: Ladder, promise: Promise, bound: Bound
) -> tuple[NDArray[np.int64], PValues]:
    """Test candidates one after the other until one is not refuted.

    Returns:
        Where each example stops by those before it, (T, N), and their p-values, (T,).
    """
    taken_by = [np.empty((0, answers.num_examples), np.int64)]
    p_values_of = [np.empty(0)]
    for start in range(0, len(ordered), _TESTED_AT_ONCE):
        taken = answers.exits_taken(ordered[start : start + _TESTED_AT_ONCE])
        p_values = _Scaled.of(answers, taken, promise, bound).p_values(promise)
        num_refuted = int(np.argmin(np.append(p_values <= 1 - promise.confidence, False)))
        taken_by.append(taken[:num_refuted])
        p_values_of.append(p_values[:num_refuted])
        if num_refuted < len(p_values):
            break
    return np.concatenate(taken_by), np.concatenate(p_values_of)


def _cost(answers: ExitAnswers, taken: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the share of examples that candidates answer wrong, or unlike the deepest exit."""
    columns = np.arange(answers.num_examples)
    expected = answers.labels[-1] if answers.truth is None else answers.truth
    differs: NDArray[np.float64] = (answers.labels[taken, columns] != expected).mean(axis=1)
    return differs


@dataclass(frozen=True, slots=True, eq=False)
class _Scaled:
    """Losses of candidates, (T, N), as a bound takes them, and what makes a limit one of theirs."""

    losses: Losses
    bound: Bound
    limit_of: Callable[[float], float]

    @classmethod
    def of(
        cls, answers: ExitAnswers, taken: NDArray[np.int64], promise: Promise, bound: Bound
    ) -> "_Scaled":
        """Scale the losses of candidates, by where each example stops, (T, N)."""
        losses = answers.losses(promise)[taken, np.arange(answers.num_examples)]
        longest_ms = float(answers.exit_ms[-1])
        match promise.kind:
            case "max-drop" if bound == "binomial":
                # Where the deepest exit alone is right: never less than what is lost in all.
                return cls((losses > 0).astype(np.float64), bound, lambda points: points / 100)
            case "max-drop":
                return cls((losses + 1) / 2, bound, lambda points: (points / 100 + 1) / 2)
            case "max-disagreement":
                return cls(losses, bound, lambda share: share)
            case "max-mean-ms":
                return cls(losses / longest_ms, bound, lambda ms: ms / longest_ms)
            case _:
                assert_never(promise.kind)

    def p_values(self, promise: Promise) -> PValues:
        """Return the p-value of "it breaks the promise" for each candidate, (T,)."""
        limit = self.limit_of(promise.limit)
        if limit >= 1:  # no loss is above it
            return np.zeros(len(self.losses))
        num_examples = self.losses.shape[1]
        if self.bound == "binomial":
            counts = self.losses.sum(axis=1).astype(np.int64)
            return binomial_p_values(counts, num_examples, limit)
        return betting_p_values(self.losses, limit, error=1 - promise.confidence)

    def repeated(self, num_examples: int) -> "_Scaled":
        """Return one candidate on as many examples like these; a broken loss counts as a whole."""
        (row,) = self.losses
        if self.bound == "binomial":
            count = min(ceil(row.mean() * num_examples - 1e-9), num_examples)
            is_loss = np.arange(num_examples) < count
            return replace(self, losses=is_loss[None].astype(np.float64))
        return replace(self, losses=np.resize(row, (1, num_examples)))


def _refusal(answers: ExitAnswers, ordered: Ladder, promise: Promise, bound: Bound) -> str:
    """Say that no early stop is certified, how many images would do, and what could be promised."""
    asked = f"{promise.kind} {promise.limit:g} with confidence {promise.confidence:g}"
    taken = answers.exits_taken(ordered)
    early = taken[(taken < answers.num_exits - 1).any(axis=1)]
    if not len(early):
        return f"no exit but the deepest is sure of anything: {asked} leaves nothing to stop early"
    # Those before the first that stops early never do, and have to be certified first: where
    # stopping early is right more often than the deepest exit, that takes more.
    first = [_Scaled.of(answers, each, promise, bound) for each in (taken[:1], early[:1])]
    num_examples = answers.num_examples
    needed = _largest(_images_needed(each, promise, num_examples) for each in first)
    would_do = (
        "no number of images like these would do"
        if needed is None
        else f"about {needed} images like these would do"
    )
    kept = _largest(_limit_kept(each, promise) for each in first)
    can_keep = "" if kept is None else f"; these can keep {promise.kind} {kept:g}"
    return f"{num_examples} images certify no early stop for {asked}; {would_do}{can_keep}"


def _largest(values: Iterable[float | None]) -> float | None:
    """Return the largest; None if one is None, which nothing reaches."""
    found = [inf if each is None else each for each in values]
    return None if inf in found else max(found)


def _images_needed(candidate: _Scaled, promise: Promise, num_examples: int) -> int | None:
    """Return how many examples like these would certify it; None if never so many."""

    def is_certified(count: int) -> bool:
        (p_value,) = candidate.repeated(count).p_values(promise)
        return bool(p_value <= 1 - promise.confidence)

    high = num_examples
    while not is_certified(high):
        high *= 2
        if high > _MOST_IMAGES:
            return None
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_certified(middle) else (middle, high)
    return high


def _limit_kept(candidate: _Scaled, promise: Promise) -> float | None:
    """Return the least limit, to three digits, that a candidate is certified to keep."""

    def is_kept(limit: float) -> bool:
        (p_value,) = candidate.p_values(replace(promise, limit=limit))
        return bool(p_value <= 1 - promise.confidence)

    largest = {"max-drop": 99.9, "max-disagreement": 0.999, "max-mean-ms": inf}[promise.kind]
    low = high = promise.limit
    while not is_kept(high):
        if high >= largest:
            return None
        low, high = high, min(2 * high, largest)
    while high / low > 1.001:
        middle = (low * high) ** 0.5
        low, high = (low, middle) if is_kept(middle) else (middle, high)
    return min(_rounded_up(high), largest)


def _rounded_up(value: float) -> float:
    """Round up to three digits.

    >>> _rounded_up(2.9512)
    2.96
    """
    digits = 3 - len(str(int(value))) if value >= 1 else 4
    return float(ceil(value * 10**digits) / 10**digits)

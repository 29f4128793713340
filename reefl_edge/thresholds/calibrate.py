"""Which thresholds does an artifact get, from its logits on validation images?

One number for all exits is certified on all images. What is fitted first, thresholds per exit or
temperatures, is fitted on a third of them, and certified on the rest: a certificate says nothing of
images that had a part in what it certifies. How images are ordered and divided is always the same.

Letters: E exits, N examples, C classes.
"""

from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray

from reefl_edge.bundles.thresholds import Bound, Promise, PromiseKind
from reefl_edge.confidence import ConfidenceMeasure
from reefl_edge.thresholds.candidates import common_ladder, exit_ladder
from reefl_edge.thresholds.certify import certify, check_bound, default_bound
from reefl_edge.thresholds.exits import ExitAnswers, Labels, Logits
from reefl_edge.thresholds.replay import exit_shares
from reefl_edge.thresholds.temperature import fit_temperatures

# Share of the images that thresholds per exit, and temperatures, are found on.
SHARE_FOR_CANDIDATES = 1 / 3


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationPlan:
    """What thresholds are to keep, and how they are looked for.

    Attributes:
        promise: What they are to keep.
        measure: How sure an exit is.
        is_per_exit: Each exit gets a number of its own.
        has_temperatures: Each exit gets a temperature.
        bound: How the loss is bounded; None for the one that is tighter (``default_bound``).

    Raises:
        ValueError: The bound says nothing about the promise.
    """

    promise: Promise
    measure: ConfidenceMeasure = "largest-softmax"
    is_per_exit: bool = False
    has_temperatures: bool = False
    bound: Bound | None = None

    def __post_init__(self) -> None:
        if self.bound is not None:
            check_bound(self.bound, self.promise)

    @property
    def needs_labels(self) -> bool:
        """Whether the class of every image must be known."""
        return self.promise.kind == "max-drop" or self.has_temperatures


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibrated:
    """Thresholds that are certified, and what they do on the images that certified them.

    Attributes:
        thresholds: One number for all exits, or one per exit but the last.
        temperatures: One per exit; none for 1 everywhere.
        bound: By which bound they were certified.
        p_value: How likely such images are, at most, if the promise were broken.
        num_images: How many certified them.
        exit_shares: Share that stops at each exit, (E,).
        accuracy: Share of right answers; None where the classes are not known.
        deepest_accuracy: The same of the deepest exit.
        disagreement: Share of answers that differ from the deepest exit's.
        mean_ms: Time of an image, from the times of the exits.
        deepest_ms: Time to the deepest exit.
    """

    thresholds: tuple[float, ...]
    temperatures: tuple[float, ...]
    bound: Bound
    p_value: float
    num_images: int
    exit_shares: tuple[float, ...]
    accuracy: float | None
    deepest_accuracy: float | None
    disagreement: float
    mean_ms: float
    deepest_ms: float


def calibrate(
    logits: Logits,
    labels: Labels | None,
    plan: CalibrationPlan,
    *,
    exit_ms: NDArray[np.float64],
) -> Calibrated:
    """Choose thresholds that keep a promise on new images like these.

    Args:
        logits: Of all exits on validation images, (E, N, C).
        labels: Their classes, (N,); None where they are not known.
        plan: What to keep, and how.
        exit_ms: How long an image takes up to each exit, rising, (E,).

    Raises:
        PromiseError: No early stop is certified (``certify``).
        ValueError: There is one exit, or fewer than two images, or labels are needed.
    """
    _check(logits, labels, plan)
    order = np.random.default_rng(0).permutation(logits.shape[1])
    num_found = ceil(len(order) * SHARE_FOR_CANDIDATES)
    is_fitted = plan.is_per_exit or plan.has_temperatures
    found_on, certified_on = np.split(order, [num_found if is_fitted else 0])
    temperatures: tuple[float, ...] = ()
    if plan.has_temperatures:
        assert labels is not None  # as checked
        temperatures = fit_temperatures(logits[:, found_on], labels[found_on])
    answers = ExitAnswers.of(
        logits, labels, exit_ms=exit_ms, measure=plan.measure, temperatures=temperatures
    )
    if plan.is_per_exit:
        found = answers.subset(found_on)
        ladder = exit_ladder(found, found.losses(_promise_of_answers(plan.promise, labels)))
    else:
        ladder = common_ladder(len(logits))
    certified_answers = answers.subset(certified_on)
    bound = plan.bound or default_bound(plan.promise, len(certified_on))
    certified = certify(certified_answers, ladder, plan.promise, bound)
    thresholds = certified.thresholds if plan.is_per_exit else certified.thresholds[:1]
    return _described(
        certified_answers,
        certified.exit_indices,
        thresholds=thresholds,
        temperatures=temperatures,
        bound=bound,
        p_value=certified.p_value,
    )


def _check(logits: Logits, labels: Labels | None, plan: CalibrationPlan) -> None:
    num_exits, num_examples, _ = logits.shape
    if num_exits < 2:
        raise ValueError("with one exit there is nothing to stop early")
    if num_examples < 2:
        raise ValueError(f"thresholds take some images to certify, got {num_examples}")
    if plan.needs_labels and labels is None:
        what = "temperatures" if plan.promise.kind != "max-drop" else "max-drop"
        raise ValueError(f"{what} cannot be had without labels")


def _promise_of_answers(promise: Promise, labels: Labels | None) -> Promise:
    """Return the promise whose loss decides between exits: for one of time, of its answers."""
    if promise.kind != "max-mean-ms":
        return promise
    kind: PromiseKind = "max-drop" if labels is not None else "max-disagreement"
    return Promise(kind=kind, limit=0.5, confidence=promise.confidence)  # no limit is looked at


def _described(
    answers: ExitAnswers,
    exit_indices: NDArray[np.int64],
    *,
    thresholds: tuple[float, ...],
    temperatures: tuple[float, ...],
    bound: Bound,
    p_value: float,
) -> Calibrated:
    chosen = answers.labels[exit_indices, np.arange(answers.num_examples)]
    deepest, truth = answers.labels[-1], answers.truth
    return Calibrated(
        thresholds=thresholds,
        temperatures=temperatures,
        bound=bound,
        p_value=p_value,
        num_images=answers.num_examples,
        exit_shares=exit_shares(exit_indices, answers.num_exits),
        accuracy=None if truth is None else float((chosen == truth).mean()),
        deepest_accuracy=None if truth is None else float((deepest == truth).mean()),
        disagreement=float((chosen != deepest).mean()),
        mean_ms=float(answers.exit_ms[exit_indices].mean()),
        deepest_ms=float(answers.exit_ms[-1]),
    )

"""Thresholds that keep a promise."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from reefl_edge.bundles.thresholds import Bound, Promise, PromiseKind
from reefl_edge.errors import PromiseError
from reefl_edge.thresholds.certify import certify
from reefl_edge.thresholds.exits import ExitAnswers

EXIT_MS = np.array([1.0, 2.0])
LADDER = np.array([[0.9], [0.8], [0.7], [0.6]])


def promise(kind: PromiseKind, limit: float) -> Promise:
    return Promise(kind=kind, limit=limit, confidence=0.95)


def answers(confidences: list[float], wrong_early: NDArray[np.bool_] | None = None) -> ExitAnswers:
    """Return two exits that say class 0, which is right; the first says 1 where it is wrong."""
    wrong = np.zeros(len(confidences), bool) if wrong_early is None else wrong_early
    labels = np.stack([wrong.astype(int), np.zeros(len(confidences), int)])
    return ExitAnswers(
        labels, np.zeros(len(confidences), int), np.array([confidences], np.float32), EXIT_MS
    )


@pytest.mark.parametrize("kind", ["max-drop", "max-disagreement"])
def test_the_lowest_threshold_before_the_first_that_is_not_refuted_is_chosen(
    kind: PromiseKind,
) -> None:
    # 400 examples stop at 0.85 and are right, 40 at 0.65 and are wrong, 400 at 0.75 and are right.
    confidences = [0.85] * 400 + [0.65] * 40 + [0.75] * 400
    wrong = np.array([each == 0.65 for each in confidences])

    certified = certify(
        answers(confidences, wrong),
        LADDER,
        promise(kind, 0.02 if "dis" in kind else 2.0),
        "binomial",
    )

    assert certified.thresholds == (0.7,)
    assert (certified.exit_indices == 0).sum() == 800
    assert certified.p_value == pytest.approx(0.98**840)


def test_a_candidate_behind_one_that_is_not_refuted_is_not_looked_at() -> None:
    # At 0.75 the first exit is wrong 30 times of 600; at 0.65 only the deepest is wrong, which
    # makes up for it. Only a bound that counts both would certify 0.6, and never behind 0.7.
    confidences = [0.75] * 30 + [0.65] * 570
    labels = np.array([[1] * 30 + [0] * 570, [0] * 30 + [1] * 570])
    both = ExitAnswers(labels, np.zeros(600, int), np.array([confidences], np.float32), EXIT_MS)

    alone = certify(both, LADDER[3:], promise("max-drop", 1.0), "betting")
    assert alone.thresholds == (0.6,)
    with pytest.raises(PromiseError):
        certify(both, LADDER, promise("max-drop", 1.0), "betting")


def test_gains_count_for_the_betting_bound_and_not_for_the_binomial_one() -> None:
    # Stopping early is wrong 10 times of 500 and right 40 times where the deepest exit is not.
    labels = np.zeros((2, 500), int)
    labels[0, :10], labels[1, 10:50] = 1, 1
    order = np.random.default_rng(0).permutation(500)
    both = ExitAnswers(
        labels[:, order], np.zeros(500, int), np.full((1, 500), 0.95, np.float32), EXIT_MS
    )

    assert certify(both, LADDER, promise("max-drop", 1.0), "betting").thresholds == (0.6,)
    with pytest.raises(PromiseError):
        certify(both, LADDER, promise("max-drop", 1.0), "binomial")


def test_a_budget_of_time_takes_the_most_accurate_that_keeps_it() -> None:
    # At 0.9 nothing stops (2 ms), at 0.8 half (1.5 ms), at 0.7 all (1 ms), with errors at 0.7.
    confidences = np.tile([0.85, 0.75], 300)
    wrong = confidences == 0.75

    certified = certify(
        answers(confidences.tolist(), wrong), LADDER, promise("max-mean-ms", 1.7), "betting"
    )

    assert certified.thresholds == (0.8,)
    assert EXIT_MS[certified.exit_indices].mean() == 1.5


def test_a_budget_that_the_deepest_exit_keeps_takes_the_answers_of_the_deepest() -> None:
    wrong = np.ones(50, bool)

    certified = certify(answers([0.85] * 50, wrong), LADDER, promise("max-mean-ms", 2.5), "betting")

    assert certified.thresholds == (0.9,)


@pytest.mark.parametrize(
    ("kind", "limit", "bound", "needed", "kept"),
    [
        ("max-drop", 1.0, "binomial", 299, "max-drop 2.96"),
        ("max-disagreement", 0.01, "binomial", 299, "max-disagreement 0.0296"),
        ("max-drop", 1.0, "betting", 319, "max-drop 3.15"),
    ],
)
def test_too_few_images_say_how_many_would_do_and_what_can_be_kept(
    kind: PromiseKind, limit: float, bound: Bound, needed: int, kept: str
) -> None:
    with pytest.raises(PromiseError) as refused:
        certify(answers([0.95] * 100), LADDER, promise(kind, limit), bound)

    assert refused.value.exit_code == 6
    message = str(refused.value)
    assert f"100 images certify no early stop for {kind} {limit:g} with confidence 0.95" in message
    assert f"about {needed} images like these would do" in message
    assert message.endswith(f"these can keep {kept}")


def test_what_is_promised_instead_is_certified() -> None:
    few = answers([0.95] * 100)

    certified = certify(few, LADDER, promise("max-drop", 2.96), "binomial")
    assert certified.thresholds == (0.6,)
    with pytest.raises(PromiseError):
        certify(few, LADDER, promise("max-drop", 2.94), "binomial")


def test_as_many_images_as_it_says_do() -> None:
    certified = certify(answers([0.95] * 319), LADDER, promise("max-drop", 1.0), "betting")
    assert certified.thresholds == (0.6,)
    with pytest.raises(PromiseError):
        certify(answers([0.95] * 318), LADDER, promise("max-drop", 1.0), "betting")


def test_images_that_the_strictest_candidate_needs_are_asked_for_too() -> None:
    # Stopping early is right 56 times where the deepest exit is not, which takes fewer images to
    # show than that never stopping loses nothing; the candidate that never stops comes first.
    labels = np.zeros((2, 280), int)
    labels[1, ::5] = 1
    confidences = np.full((1, 280), 0.85, np.float32)
    gaining = ExitAnswers(labels, np.zeros(280, int), confidences, EXIT_MS)
    wanted = promise("max-drop", 1.0)
    assert certify(gaining, LADDER[1:], wanted, "betting").thresholds == (0.6,)

    with pytest.raises(PromiseError, match="about 319 images like these would do") as refused:
        certify(gaining, LADDER, wanted, "betting")

    kept = float(str(refused.value).rsplit(" ", 1)[1])
    assert kept > 1.0
    can_keep = promise("max-drop", kept)
    assert certify(gaining, LADDER, can_keep, "betting").thresholds == (0.6,)


def test_an_exit_that_costs_more_than_promised_is_not_bettered_by_images() -> None:
    wrong = np.arange(200) % 2 == 0

    with pytest.raises(PromiseError, match="no number of images like these would do") as refused:
        certify(answers([0.95] * 200, wrong), LADDER, promise("max-disagreement", 0.1), "binomial")

    assert "these can keep max-disagreement 0.5" in str(refused.value)


def test_a_time_that_no_exit_keeps_says_which_could_be() -> None:
    with pytest.raises(PromiseError, match=r"these can keep max-mean-ms 1\.0"):
        certify(answers([0.95] * 500), LADDER, promise("max-mean-ms", 0.5), "betting")


def test_exits_that_are_sure_of_nothing_leave_nothing_to_certify() -> None:
    with pytest.raises(PromiseError, match="no exit but the deepest is sure of anything"):
        certify(answers([0.3] * 500), LADDER, promise("max-drop", 1.0), "betting")


def test_a_promise_of_accuracy_takes_labels_and_one_of_time_no_counting() -> None:
    unlabelled = replace(answers([0.95] * 500), truth=None)

    with pytest.raises(ValueError, match="max-drop is about accuracy, which takes labels"):
        certify(unlabelled, LADDER, promise("max-drop", 1.0), "betting")
    with pytest.raises(ValueError, match="counts answers, and max-mean-ms is about time"):
        certify(unlabelled, LADDER, promise("max-mean-ms", 1.5), "binomial")
    by_answers = certify(unlabelled, LADDER, promise("max-mean-ms", 1.5), "betting")
    assert by_answers.thresholds == (0.6,)

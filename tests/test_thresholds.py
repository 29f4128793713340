"""Choosing a threshold on validation examples."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from reefl_edge.adaptive import AdaptiveSession, ConfidencePolicy
from reefl_edge.thresholds import choose_threshold, paired_difference_interval, replay
from tests.fakes.runtimes import FakeRuntime, confident_logits, numbered_images
from tests.fakes.submodels import tiny_submodel

# Class 0 is likeliest everywhere; the labels make some of these answers wrong.
LOGITS = confident_logits([[0.95, 0.75, 0.65], [0.99, 0.99, 0.99]])


def test_replay_counts_what_stops_where() -> None:
    outcome = replay(ConfidencePolicy((0.7,)), LOGITS, np.array([0, 0, 1]))

    assert outcome.exit_indices.tolist() == [0, 0, 1]
    assert outcome.exit_shares(2) == pytest.approx((2 / 3, 1 / 3))
    assert outcome.accuracy == pytest.approx(2 / 3)


@given(
    arrays(np.float32, (3, 5, 3), elements=st.floats(-8, 8, width=32)),
    st.floats(0.34, 1.0, exclude_min=True),
)
def test_replay_stops_where_a_session_stops(logits: NDArray[np.float32], threshold: float) -> None:
    policy = ConfidencePolicy((threshold,))
    # Three exits need blocks in threes: any sub-model with three exits will do.
    submodel = tiny_submodel(num_exits=4, max_exit=2)
    adaptive = AdaptiveSession(FakeRuntime(logits), submodel, policy)

    prediction = adaptive.predict(numbered_images(range(5)))
    outcome = replay(policy, logits, prediction.labels)

    assert outcome.exit_indices.tolist() == prediction.exit_indices.tolist()
    assert outcome.correct.all()


def test_the_lowest_threshold_that_keeps_the_accuracy_is_chosen() -> None:
    wrong_at_exit_0 = LOGITS.copy()
    wrong_at_exit_0[0, 1] = wrong_at_exit_0[0, 1, ::-1]  # example 1, 0.75 sure of a wrong class
    labels = np.array([0, 0, 0])

    assert choose_threshold(wrong_at_exit_0, labels, candidates=(0.6, 0.7, 0.8, 1.0)) == 0.8


def test_a_drop_that_is_allowed_gives_a_lower_threshold() -> None:
    wrong_at_exit_0 = LOGITS.copy()
    wrong_at_exit_0[0, 1] = wrong_at_exit_0[0, 1, ::-1]
    labels = np.array([0, 0, 0])

    chosen = choose_threshold(
        wrong_at_exit_0, labels, max_accuracy_drop=0.34, candidates=(0.6, 0.7, 0.8, 1.0)
    )

    assert chosen == 0.6


def test_without_examples_there_is_no_threshold() -> None:
    with pytest.raises(ValueError, match="without validation examples"):
        choose_threshold(np.zeros((2, 0, 3), np.float32), np.zeros(0, np.int64))


def test_the_interval_of_a_difference_holds_the_difference() -> None:
    correct = np.array([True] * 90 + [False] * 10)
    baseline = np.array([True] * 95 + [False] * 5)

    low, high = paired_difference_interval(correct, baseline)

    assert low < -0.05 < high < 0.01
    assert paired_difference_interval(correct, correct) == (0, 0)

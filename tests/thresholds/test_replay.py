"""What a policy makes of examples whose logits are known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from reefl_edge.adaptive import AdaptiveSession, ConfidencePolicy
from reefl_edge.thresholds.replay import paired_difference_interval, replay
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


def test_the_interval_of_a_difference_holds_the_difference() -> None:
    correct = np.array([True] * 90 + [False] * 10)
    baseline = np.array([True] * 95 + [False] * 5)

    low, high = paired_difference_interval(correct, baseline)

    assert low < -0.05 < high < 0.01
    assert paired_difference_interval(correct, correct) == (0, 0)

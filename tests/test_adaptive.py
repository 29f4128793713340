"""Stopping at the first confident exit."""

import numpy as np
import pytest
from numpy.typing import NDArray

from reefl_edge.adaptive import AdaptiveSession, ConfidencePolicy
from tests.fakes.runtimes import FakeRuntime, confident_logits, numbered_images
from tests.fakes.submodels import tiny_submodel

# Probability of the likeliest class, by exit and example.
CONFIDENCES = [
    [0.95, 0.50, 0.60],  # exit 0
    [0.99, 0.92, 0.70],  # exit 1
    [0.99, 0.99, 0.80],  # exit 2
    [0.99, 0.99, 0.85],  # exit 3
]


def session(policy: ConfidencePolicy) -> tuple[AdaptiveSession, FakeRuntime]:
    runtime = FakeRuntime(confident_logits(CONFIDENCES))
    return AdaptiveSession(runtime, tiny_submodel(num_exits=4), policy), runtime


def test_each_example_stops_at_its_first_confident_exit() -> None:
    adaptive, _ = session(ConfidencePolicy((0.9,)))

    prediction = adaptive.predict(numbered_images([0, 1, 2]))

    assert prediction.exit_indices.tolist() == [0, 1, 3]
    np.testing.assert_allclose(prediction.confidences, [0.95, 0.92, 0.85], atol=1e-6)
    assert prediction.labels.tolist() == [0, 0, 0]


def test_what_follows_the_stop_is_not_run() -> None:
    adaptive, runtime = session(ConfidencePolicy((0.9,)))

    adaptive.predict(numbered_images([0, 1, 2]))

    assert runtime.batches == [(0, [0, 1, 2]), (1, [1, 2]), (2, [2]), (3, [2])]


def test_no_segment_runs_once_all_have_stopped() -> None:
    adaptive, runtime = session(ConfidencePolicy((0.9,)))

    adaptive.predict(numbered_images([0, 1]))

    assert runtime.batches == [(0, [0, 1]), (1, [1])]


@pytest.mark.parametrize(
    ("policy", "cut"),
    [
        (ConfidencePolicy((0.8,)), ConfidencePolicy((0.8,))),
        (ConfidencePolicy((0.9, 0.8, 0.7)), ConfidencePolicy((0.9,))),
        (
            ConfidencePolicy((0.8,), "margin", (1.0, 2.0, 3.0, 4.0)),
            ConfidencePolicy((0.8,), "margin", (1.0, 2.0)),
        ),
    ],
)
def test_exits_up_to_one_stop_as_before(policy: ConfidencePolicy, cut: ConfidencePolicy) -> None:
    assert policy.cut(1) == cut
    cut.check(num_exits=2)


def test_a_threshold_of_one_never_stops_early_however_confident() -> None:
    certain = np.zeros((2, 1, 3), np.float32)
    certain[..., 0] = 1000  # softmax is 1 to the last bit
    runtime = FakeRuntime(certain)
    adaptive = AdaptiveSession(runtime, tiny_submodel(), ConfidencePolicy((1.0,)))

    assert adaptive.predict(numbered_images([0])).exit_indices.tolist() == [1]


def test_a_confidence_equal_to_the_threshold_stops() -> None:
    half = np.zeros((2, 1, 2), np.float32)  # two equal classes: exactly one half

    assert ConfidencePolicy((0.5,)).stops(half[0], 0).tolist() == [True]


def test_thresholds_may_differ_by_exit() -> None:
    adaptive, _ = session(ConfidencePolicy((0.97, 0.9, 0.75)))

    assert adaptive.predict(numbered_images([0, 1, 2])).exit_indices.tolist() == [1, 1, 2]


def test_an_empty_batch_gives_an_empty_prediction() -> None:
    adaptive, _ = session(ConfidencePolicy((0.9,)))

    prediction = adaptive.predict(numbered_images([]))

    assert prediction.logits.shape == (0, 3)
    assert prediction.labels.shape == (0,)


@pytest.mark.parametrize("threshold", [0.0, -0.1, 1.1, float("nan")])
def test_a_threshold_outside_the_range_is_refused(threshold: float) -> None:
    with pytest.raises(ValueError, match="above 0 and at most 1"):
        ConfidencePolicy((threshold,))


def test_a_wrong_number_of_thresholds_is_refused() -> None:
    with pytest.raises(ValueError, match="2 thresholds for 4 exits: give one, or 3"):
        session(ConfidencePolicy((0.9, 0.9)))


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((1, 16, 16, 3), np.float32),
        np.zeros((1, 8, 8, 3), np.uint8),
        np.zeros((16, 16, 3), np.uint8),
        np.zeros((1, 16, 16, 1), np.uint8),
    ],
)
def test_images_of_another_shape_or_dtype_are_refused(images: NDArray[np.uint8]) -> None:
    adaptive, _ = session(ConfidencePolicy((0.9,)))

    with pytest.raises(ValueError, match=r"images must be uint8 \(B, 16, 16, 3\)"):
        adaptive.predict(images)


def test_temperatures_change_where_it_stops_and_how_sure_the_answer_is_but_not_the_answer() -> None:
    # At temperature 2 exit 0 is 0.95 sure no longer: odds of 0.95 to 0.025 have their root taken.
    hotter, _ = session(ConfidencePolicy((0.9,), temperatures=(2.0, 1.0, 1.0, 0.5)))

    prediction = hotter.predict(numbered_images([0, 2]))

    assert prediction.exit_indices.tolist() == [1, 3]
    assert prediction.labels.tolist() == [0, 0]
    odds = (0.85 / 0.075) ** 2  # at temperature 0.5
    np.testing.assert_allclose(prediction.confidences, [0.99, odds / (odds + 2)], atol=1e-5)


def test_the_measure_is_what_is_held_against_the_threshold() -> None:
    # 0.92 sure, but only 0.88 above each of the next: 0.92 - 0.04.
    by_margin, _ = session(ConfidencePolicy((0.9,), measure="margin"))

    assert by_margin.predict(numbered_images([0, 1])).exit_indices.tolist() == [0, 2]


def test_a_wrong_number_of_temperatures_is_refused() -> None:
    with pytest.raises(ValueError, match="2 temperatures for 4 exits: give one per exit, or none"):
        session(ConfidencePolicy((0.9,), temperatures=(1.0, 1.0)))
    with pytest.raises(ValueError, match=r"a temperature is from 0\.05 to 20, got 0"):
        ConfidencePolicy((0.9,), temperatures=(0.0, 1.0))

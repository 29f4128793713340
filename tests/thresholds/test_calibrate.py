"""From logits to thresholds."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from reefl_edge.adaptive import ConfidencePolicy
from reefl_edge.bundles.thresholds import Promise
from reefl_edge.confidence import MEASURES, ConfidenceMeasure
from reefl_edge.thresholds.calibrate import CalibrationPlan, calibrate
from reefl_edge.thresholds.replay import replay

EXIT_MS = np.array([1.0, 2.0, 3.0])
DROP = CalibrationPlan(promise=Promise(kind="max-drop", limit=2.0, confidence=0.95))
ANSWERS = replace(DROP, promise=Promise(kind="max-disagreement", limit=0.05, confidence=0.95))


def population(
    num_examples: int, *, seed: int = 0
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return logits of three exits, each surer and more often right than the one before."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 5, num_examples)
    logits = generator.normal(size=(3, num_examples, 5)).astype(np.float32)
    ease = generator.exponential(3, num_examples)
    for exit_index in range(3):
        logits[exit_index, np.arange(num_examples), labels] += ease * (1 + exit_index / 2)
    return logits, labels


def test_what_is_certified_keeps_the_promise_on_these_images_and_saves_time() -> None:
    logits, labels = population(2000)

    found = calibrate(logits, labels, DROP, exit_ms=EXIT_MS)

    assert len(found.thresholds) == 1
    assert found.num_images == 2000
    assert found.accuracy is not None
    assert found.deepest_accuracy is not None
    assert found.accuracy >= found.deepest_accuracy - 0.02
    assert found.mean_ms < 2.5
    assert found.p_value <= 0.05
    again = replay(ConfidencePolicy(found.thresholds), logits, labels)
    assert again.accuracy == pytest.approx(found.accuracy)
    assert again.exit_shares(3) == pytest.approx(found.exit_shares)


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("is_per_exit", [False, True])
def test_a_session_stops_where_the_calibration_said(
    measure: ConfidenceMeasure, is_per_exit: bool
) -> None:
    logits, labels = population(900)
    plan = replace(ANSWERS, measure=measure, is_per_exit=is_per_exit, has_temperatures=True)

    found = calibrate(logits, labels, plan, exit_ms=EXIT_MS)

    policy = ConfidencePolicy(found.thresholds, measure, found.temperatures)
    policy.check(3)
    certified_on = np.random.default_rng(0).permutation(900)[300:]
    again = replay(policy, logits[:, certified_on], labels[certified_on])
    assert found.num_images == 600
    assert again.exit_shares(3) == pytest.approx(found.exit_shares)


def test_thresholds_per_exit_are_found_on_other_images_than_they_are_certified_on() -> None:
    logits, labels = population(900)
    order = np.random.default_rng(0).permutation(900)
    plan = replace(ANSWERS, is_per_exit=True)
    lucky = logits.copy()
    # Where candidates are found, all exits agree; what certifies them is as it was.
    lucky[:, order[:300]] = logits[2, order[:300]]

    found = calibrate(logits, labels, plan, exit_ms=EXIT_MS)
    too_bold = calibrate(lucky, labels, plan, exit_ms=EXIT_MS)

    for each in (found, too_bold):
        assert len(each.thresholds) == 2
        assert each.num_images == 600
        assert each.disagreement <= 0.05
    assert too_bold.mean_ms > found.mean_ms


@given(st.randoms(use_true_random=False))
@settings(max_examples=10)
def test_the_order_of_images_hardly_matters_and_that_of_classes_not_at_all(random: object) -> None:
    logits, labels = population(400)
    classes = np.random.default_rng(hash(random) % 2**32).permutation(5)

    found = calibrate(logits, labels, ANSWERS, exit_ms=EXIT_MS)
    renamed = calibrate(logits[..., classes], np.argsort(classes)[labels], ANSWERS, exit_ms=EXIT_MS)

    assert renamed == found


def test_a_promise_about_answers_needs_no_labels() -> None:
    logits, _ = population(400)

    found = calibrate(logits, None, ANSWERS, exit_ms=EXIT_MS)

    assert found.accuracy is None
    assert found.disagreement <= 0.05


@pytest.mark.parametrize(
    ("plan", "what"),
    [(DROP, "max-drop"), (replace(ANSWERS, has_temperatures=True), "temperatures")],
)
def test_labels_are_asked_for_where_they_are_needed(plan: CalibrationPlan, what: str) -> None:
    logits, _ = population(400)

    assert plan.needs_labels
    with pytest.raises(ValueError, match=f"{what} cannot be had without labels"):
        calibrate(logits, None, plan, exit_ms=EXIT_MS)


def test_one_exit_and_one_image_are_refused() -> None:
    logits, labels = population(10)

    with pytest.raises(ValueError, match="with one exit there is nothing to stop early"):
        calibrate(logits[:1], labels, DROP, exit_ms=EXIT_MS[:1])
    with pytest.raises(ValueError, match="take some images to certify, got 1"):
        calibrate(logits[:, :1], labels[:1], DROP, exit_ms=EXIT_MS)

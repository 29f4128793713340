"""Being right as often as sure."""

import numpy as np
import pytest

from reefl_edge.confidence import confidence, softmax
from reefl_edge.thresholds.temperature import (
    Bin,
    expected_calibration_error,
    fit_temperatures,
    reliability,
)


def test_the_temperature_by_which_logits_were_multiplied_is_found() -> None:
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(4000, 3)).astype(np.float32) * 2
    cumulated = softmax(logits).cumsum(axis=1)
    labels = (generator.random((4000, 1)) > cumulated).sum(axis=1).clip(max=2)

    found = fit_temperatures(np.stack([logits * 3, logits, logits / 2]), labels)

    assert found == pytest.approx((3.0, 1.0, 0.5), rel=0.06)


def test_an_exit_that_is_always_right_stays_within_bounds() -> None:
    logits = np.eye(3, dtype=np.float32)[None].repeat(2, axis=0)

    assert fit_temperatures(logits, np.arange(3)) == pytest.approx((0.05, 0.05), abs=0.001)


def test_the_error_is_the_mean_gap_between_sure_and_right() -> None:
    # Two are 0.9 sure and one is right: off by 0.4; two are 0.5 sure and one is right: by nothing.
    confidences = np.array([0.9, 0.9, 0.5, 0.5], np.float32)
    correct = np.array([True, False, True, False])

    bins = reliability(confidences, correct)

    assert [(each.num_examples, each.accuracy) for each in bins] == [(2, 0.5), (2, 0.5)]
    assert [each.confidence for each in bins] == pytest.approx([0.5, 0.9])
    assert expected_calibration_error(bins) == pytest.approx(0.2)


def test_who_is_wholly_sure_is_in_the_last_bin() -> None:
    certain = confidence(np.array([[1000.0, 0.0]], np.float32))

    assert reliability(certain, np.array([True])) == (Bin(1, 1.0, 1.0),)

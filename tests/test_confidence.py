"""How sure an exit is."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from reefl_edge.confidence import MEASURES, ConfidenceMeasure, check_temperature, confidence

LOGITS = arrays(np.float32, (4, 5), elements=st.floats(-30, 30, width=32))


def test_measures_by_hand() -> None:
    # Probabilities 0.5, 0.25, 0.25: entropy 1.5 bits of log2(3) at most.
    logits = np.log(np.array([0.5, 0.25, 0.25], np.float32))

    assert confidence(logits, "largest-softmax") == pytest.approx(0.5)
    assert confidence(logits, "margin") == pytest.approx(0.25)
    assert confidence(logits, "entropy") == pytest.approx(1 - 1.5 / np.log2(3), abs=1e-6)


def test_a_temperature_divides_the_logits() -> None:
    logits = np.array([np.log(9.0), 0.0], np.float32)  # odds of 9 to 1; at temperature 2, 3 to 1

    assert confidence(logits) == pytest.approx(0.9)
    assert confidence(logits, temperature=2.0) == pytest.approx(0.75)


@given(LOGITS, st.sampled_from(MEASURES), st.floats(0.05, 20))
def test_every_measure_lies_in_0_to_1_and_is_float32(
    logits: NDArray[np.float32], measure: ConfidenceMeasure, temperature: float
) -> None:
    sureness = confidence(logits, measure, temperature=temperature)

    assert sureness.dtype == np.float32
    assert sureness.shape == (4,)
    assert (sureness >= 0).all()
    assert (sureness <= 1).all()


@pytest.mark.parametrize("measure", MEASURES)
def test_the_ends_are_0_or_even_odds_and_1(measure: ConfidenceMeasure) -> None:
    certain = np.array([1000.0, 0.0, 0.0], np.float32)
    undecided = np.zeros(3, np.float32)

    assert confidence(certain, measure) == 1
    low = 1 / 3 if measure == "largest-softmax" else 0
    assert confidence(undecided, measure) == pytest.approx(low, abs=1e-6)


@pytest.mark.parametrize("measure", MEASURES)
def test_one_class_alone_is_certain(measure: ConfidenceMeasure) -> None:
    assert confidence(np.zeros((2, 1), np.float32), measure).tolist() == [1, 1]


@pytest.mark.parametrize("temperature", [0.0, -1.0, 21.0, float("nan")])
def test_a_temperature_that_is_out_of_bounds_is_refused(temperature: float) -> None:
    with pytest.raises(ValueError, match=r"a temperature is from 0\.05 to 20, got"):
        check_temperature(temperature)

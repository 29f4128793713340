"""Figures explained as sums of terms, and how far that is off elsewhere."""

from math import exp, log

import numpy as np
import pytest

from reefl_edge.profiling.relative_fit import (
    Observation,
    Spread,
    fitted_weights,
    predicted,
    spread_across_devices,
    spread_across_models,
    spread_within_models,
)


def observed(
    *terms: float, figure: float, model: object = "model", device: object = "device"
) -> Observation:
    return Observation(terms=terms, figure=figure, model=model, device=device)


def test_figures_that_are_a_sum_of_terms_give_back_its_weights() -> None:
    observations = [
        observed(a, b, 1.0, figure=2 * a + 0.5 * b + 3) for a, b in ((1, 1), (2, 9), (5, 2), (7, 7))
    ]

    assert fitted_weights(observations) == pytest.approx([2, 0.5, 3])


def test_a_term_that_would_have_to_be_taken_off_counts_nothing() -> None:
    observations = [
        observed(1.0, 1.0, figure=2), observed(2.0, 3.0, figure=3), observed(3.0, 6.0, figure=3)
    ]  # fmt: skip

    weights = fitted_weights(observations)

    assert (weights >= 0).all()
    assert weights[1] == 0  # free weights would be about 2.9 and -0.9


def test_it_is_relative_errors_that_count() -> None:
    # One term cannot serve both: at the least relative error 2/3 of each is off by a third.
    weights = fitted_weights([observed(1.0, figure=1), observed(1.0, figure=1000)])

    assert weights[0] == pytest.approx((1 + 1e-3) / (1 + 1e-6))


def test_what_is_known_of_a_model_moves_what_is_predicted_of_it() -> None:
    weights = np.array([2.0])
    known = [observed(1.0, figure=3), observed(2.0, figure=6)]

    assert predicted(weights, (10.0,), []) == pytest.approx(20)
    assert predicted(weights, (10.0,), known) == pytest.approx(30)


def test_the_spread_is_that_of_predictions_that_left_out_what_they_predict() -> None:
    twice = exp(0.1)
    observations = [
        observed(a, figure=a * factor, model=model)
        for model, factor in (("one", 1.0), ("two", twice))
        for a in (1.0, 2.0, 4.0)
    ]

    within, across = spread_within_models(observations), spread_across_models(observations)

    # Every model is one multiple of its terms; another model's is off by the quotient.
    assert within is not None
    assert across is not None
    assert within.log_error == pytest.approx(0, abs=1e-9)
    assert across.log_error == pytest.approx(0.1)
    assert (within.num_independent, across.num_independent) == (6, 2)
    assert spread_across_devices(observations) is None


def test_three_devices_tell_how_far_a_fourth_may_be_off() -> None:
    observations = [
        observed(1.0, figure=figure, device=device, model=device)
        for device, figure in (("a", 1.0), ("b", 1.0), ("c", 2.0))
    ]

    spread = spread_across_devices(observations)

    assert spread is not None
    assert spread.num_independent == 3
    # Leaving out c, what is left says 1; leaving out a or b, the relative fit of 1 and 2 says 1.2.
    expected = ((log(2)) ** 2 + 2 * log(1 / 1.2) ** 2) / 3
    assert spread.log_error == pytest.approx(expected**0.5)


def test_one_figure_alone_tells_no_spread() -> None:
    assert spread_within_models([observed(1.0, figure=1)]) is None
    assert spread_across_models([observed(1.0, figure=1), observed(2.0, figure=2)]) is None


@pytest.mark.parametrize(("independent", "quantile"), [(4, 2.353), (11, 1.812), (41, 1.684)])
def test_few_errors_make_a_wider_interval(independent: int, quantile: float) -> None:
    # Student's t, 95%: from tables. The expansion is short, and a little low for few.
    half_width = Spread(log_error=1.0, num_independent=independent).half_width

    assert half_width == pytest.approx(quantile, rel=0.02)

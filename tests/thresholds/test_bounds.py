"""How surely a loss stays below a limit."""

from fractions import Fraction
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reefl_edge.thresholds.bounds import betting_p_values, binomial_p_values


def test_no_loss_in_299_is_the_first_to_show_one_percent_with_95_percent_confidence() -> None:
    # By hand: 0.99 ** 298 = 0.0500 and 0.99 ** 299 = 0.0495.
    nothing = np.array([0])

    assert binomial_p_values(nothing, 298, 0.01)[0] > 0.05
    assert binomial_p_values(nothing, 299, 0.01)[0] < 0.05
    assert binomial_p_values(nothing, 299, 0.01)[0] == pytest.approx(0.99**299)


def exact_tail(num_losses: int, num_examples: int, limit: Fraction) -> Fraction:
    """Return the binomial tail by its definition, in fractions."""
    return sum(
        (
            comb(num_examples, count) * limit**count * (1 - limit) ** (num_examples - count)
            for count in range(num_losses + 1)
        ),
        Fraction(0),
    )


@given(st.integers(1, 60), st.integers(1, 99), st.data())
def test_the_binomial_tail_is_exact(num_examples: int, percent: int, data: st.DataObject) -> None:
    num_losses = data.draw(st.integers(0, num_examples))

    (found,) = binomial_p_values(np.array([num_losses]), num_examples, percent / 100)

    expected = exact_tail(num_losses, num_examples, Fraction(percent, 100))
    assert found == pytest.approx(float(expected), rel=1e-9)


def test_many_examples_do_not_lose_the_tail() -> None:
    # The first term is far below the smallest float: (1 - 0.3) ** 5000.
    low, high = binomial_p_values(np.array([1400, 1600]), 5000, 0.3)

    assert 0 < low < 0.01
    assert 0.99 < high <= 1


def test_a_bet_is_what_its_formula_says() -> None:
    losses = np.array([[0.0, 1.0, 0.0]])
    error, limit = 0.1, 0.5

    # The reference: one example after the other.
    capital, best, mean, variance = 1.0, 0.0, 0.5, 0.25
    total, squares = 0.5, 0.25
    for count, loss in enumerate(losses[0], start=1):
        bet = min((2 * np.log(1 / error) / (3 * variance)) ** 0.5, 0.99 / (1 - limit))
        capital *= 1 + bet * (limit - loss)
        best = max(best, capital)
        total += loss
        mean = total / (count + 1)
        squares += (loss - mean) ** 2
        variance = squares / (count + 1)

    (found,) = betting_p_values(losses, limit, error=error)
    assert found == pytest.approx(min(1, 1 / best))


def test_losses_without_variance_are_shown_nearly_as_quickly_as_by_the_exact_tail() -> None:
    nothing = np.zeros((1, 330))

    assert betting_p_values(nothing, 0.01, error=0.05)[0] < 0.05
    assert binomial_p_values(np.array([0]), 290, 0.01)[0] > 0.05


@pytest.mark.parametrize("bound", ["binomial", "betting"])
def test_what_breaks_the_limit_is_seldom_certified(bound: str) -> None:
    # 2,000 sets whose mean loss is exactly the limit: refuting it is an error, at most 5% of them.
    limit, num_sets, num_examples = 0.1, 2000, 200
    losses = (np.random.default_rng(0).random((num_sets, num_examples)) < limit).astype(float)

    p_values = (
        binomial_p_values(losses.sum(axis=1).astype(int), num_examples, limit)
        if bound == "binomial"
        else betting_p_values(losses, limit, error=0.05)
    )

    errors = (p_values <= 0.05).mean()
    assert errors <= 0.05 + 3 * (0.05 * 0.95 / num_sets) ** 0.5
    assert errors > 0.005  # and not by refusing everything


@given(st.integers(0, 50), st.integers(1, 50))
def test_more_losses_never_look_better(few: int, more: int) -> None:
    low, high = binomial_p_values(np.array([few, few + more]), 200, 0.1)

    assert low <= high

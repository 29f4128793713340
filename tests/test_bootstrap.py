"""Intervals from samples drawn again, against values found by hand."""

import tracemalloc

import numpy as np

from reefl_edge.bootstrap import mean_interval, median_interval, median_ratio_interval


def test_the_median_of_equal_samples_is_certain() -> None:
    assert median_interval(np.full(7, 5.0)) == (5.0, 5.0)


def test_the_median_of_two_samples_may_be_either() -> None:
    # Drawn twice with replacement, a quarter of the draws is 1 and 1, another 3 and 3.
    assert median_interval(np.array([1.0, 3.0])) == (1.0, 3.0)


def test_many_samples_take_no_more_memory_than_their_number_asks_for() -> None:
    samples = np.random.default_rng(0).random(40_000)

    tracemalloc.start()
    low, high = median_interval(samples)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert low < 0.5 < high
    assert peak < 64 * 2**20  # all at once, the draws alone take 305 MiB


def test_a_ratio_is_certain_where_both_slow_down_together() -> None:
    reference = np.array([1.0, 2.0, 4.0, 8.0])

    assert median_ratio_interval(reference / 2, reference) == (0.5, 0.5)


def test_a_ratio_is_as_uncertain_as_its_samples() -> None:
    low, high = median_ratio_interval(np.array([1.0, 1.0, 3.0]), np.ones(3))

    assert (low, high) == (1.0, 3.0)


def test_the_mean_of_two_samples_lies_between_them() -> None:
    # A quarter of the draws is 0 and 0, a half 0 and 1, a quarter 1 and 1.
    assert mean_interval(np.array([0.0, 1.0])) == (0.0, 1.0)

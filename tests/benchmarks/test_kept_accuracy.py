"""The rule that benchmarks compare certificates with."""

import numpy as np
import pytest

from benchmarks.apparatus.kept_accuracy import choose_threshold
from tests.fakes.runtimes import confident_logits

# Class 0 is likeliest everywhere; the labels make some of these answers wrong.
LOGITS = confident_logits([[0.95, 0.75, 0.65], [0.99, 0.99, 0.99]])


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

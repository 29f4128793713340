"""Do clients share the examples fairly, disjointly, and as skewed as asked?"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from reefl_edge.data.partition import dirichlet_partition

Parts = list[NDArray[np.int64]]


def mean_share_of_commonest_class(labels: NDArray[np.int64], parts: Parts) -> float:
    shares = [np.bincount(labels[part]).max() / len(part) for part in parts]
    return float(np.mean(shares))


@given(
    labels=st.lists(st.integers(0, 5), min_size=1, max_size=80),
    num_clients=st.integers(1, 80),
    alpha=st.floats(0.01, 1000),
    seed=st.integers(0, 2**32),
)
def test_parts_are_disjoint_equal_and_stable(
    labels: list[int], num_clients: int, alpha: float, seed: int
) -> None:
    num_clients = min(num_clients, len(labels))

    def split() -> Parts:
        return dirichlet_partition(
            np.array(labels), num_clients=num_clients, alpha=alpha, seed=seed
        )

    parts = split()

    assert [len(part) for part in parts] == [len(labels) // num_clients] * num_clients
    drawn = np.concatenate(parts)
    assert len(set(drawn)) == len(drawn)
    assert set(drawn) <= set(range(len(labels)))
    assert all(np.array_equal(part, again) for part, again in zip(parts, split(), strict=True))


def test_small_alpha_is_more_skewed_than_large() -> None:
    labels = np.repeat(np.arange(10), 40)
    small, large = (
        mean_share_of_commonest_class(
            labels, dirichlet_partition(labels, num_clients=8, alpha=alpha, seed=0)
        )
        for alpha in (0.1, 100.0)
    )

    assert small > 0.5
    assert large < 0.25


def test_seed_changes_who_holds_what() -> None:
    labels = np.repeat(np.arange(3), 20)
    first, other = (
        dirichlet_partition(labels, num_clients=2, alpha=1.0, seed=seed)[0] for seed in (0, 1)
    )
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("num_clients", [0, 5])
def test_clients_without_examples_are_refused(num_clients: int) -> None:
    with pytest.raises(ValueError, match=f"cannot split 4 examples among {num_clients} clients"):
        dirichlet_partition(np.zeros(4, np.int64), num_clients=num_clients, alpha=1.0, seed=0)


def test_alpha_must_be_positive() -> None:
    with pytest.raises(ValueError, match="alpha must be positive, got 0"):
        dirichlet_partition(np.zeros(4, np.int64), num_clients=2, alpha=0, seed=0)

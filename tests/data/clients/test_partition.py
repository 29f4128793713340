"""Does every example go to one client at most, and the same one each time?"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reefl_edge.data.clients.partition import (
    class_preferences,
    client_part,
    dirichlet_partition,
    natural_partition,
    skewed_partition,
    split_by_class,
)

Parts = list[np.typing.NDArray[np.int64]]


def mean_share_of_commonest_class(labels: np.typing.NDArray[np.int64], parts: Parts) -> float:
    shares = [np.bincount(labels[part]).max() / len(part) for part in parts]
    return float(np.mean(shares))


LABELS = st.lists(st.integers(0, 4), min_size=6, max_size=60).map(
    lambda labels: np.array(labels, np.int64)
)


@given(LABELS, st.integers(1, 6), st.floats(0.01, 1000), st.integers(0, 9))
def test_skewed_clients_are_disjoint_equal_in_size_and_stable(
    labels: np.typing.NDArray[np.int64], num_clients: int, alpha: float, seed: int
) -> None:
    preferences = class_preferences(num_clients=num_clients, num_classes=5, alpha=alpha, seed=seed)

    parts = skewed_partition(labels, preferences, seed=seed)

    everything = np.concatenate(parts)
    assert [len(part) for part in parts] == [len(labels) // num_clients] * num_clients
    assert len(np.unique(everything)) == len(everything)
    assert everything.min() >= 0
    assert everything.max() < len(labels)
    again = skewed_partition(labels, preferences, seed=seed)
    assert all(np.array_equal(*pair) for pair in zip(parts, again, strict=True))


@given(LABELS, st.integers(1, 6))
def test_dirichlet_partition_shares_the_classes_that_occur(
    labels: np.typing.NDArray[np.int64], num_clients: int
) -> None:
    parts = dirichlet_partition(labels * 7, num_clients=num_clients, alpha=0.5, seed=3)

    assert len(np.unique(np.concatenate(parts))) == num_clients * (len(labels) // num_clients)


def test_a_client_prefers_the_same_classes_in_training_and_test() -> None:
    preferences = class_preferences(num_clients=4, num_classes=3, alpha=0.05)
    assert preferences.sum(1) == pytest.approx(1)
    train = skewed_partition(np.repeat(np.arange(3), 400), preferences)
    test = skewed_partition(np.repeat(np.arange(3), 80), preferences)

    favourite = int(preferences[0].argmax())
    for parts, size in ((train, 400), (test, 80)):
        assert np.mean(parts[0] // size == favourite) > 0.8


@given(st.lists(st.sampled_from("abcde"), min_size=1, max_size=30), st.booleans())
def test_natural_clients_are_whole_groups(writers: list[str], by_number: bool) -> None:
    groups = np.array([ord(writer) for writer in writers] if by_number else writers)

    parts = natural_partition(groups)

    assert sorted(np.concatenate(parts).tolist()) == list(range(len(writers)))
    assert [groups[part[0]] for part in parts] == sorted(set(groups.tolist()))
    assert all(len(set(groups[part].tolist())) == 1 for part in parts)


def test_the_largest_groups_are_kept_in_the_order_of_their_names() -> None:
    groups = np.array(list("abbcccdd"))

    parts = natural_partition(groups, num_clients=2)

    assert [part.tolist() for part in parts] == [[1, 2], [3, 4, 5]]
    with pytest.raises(ValueError, match="there are 4 writers or speakers, not 5"):
        natural_partition(groups, num_clients=5)


@given(LABELS, st.floats(0.05, 0.6))
def test_a_share_of_each_class_is_set_aside(
    labels: np.typing.NDArray[np.int64], test_share: float
) -> None:
    if np.bincount(labels).max() < 2:
        return
    train, test = split_by_class(labels, test_share=test_share)

    assert sorted([*train, *test]) == list(range(len(labels)))
    for label in np.unique(labels):
        count = int((labels == label).sum())
        assert (labels[test] == label).sum() == max(1, round(test_share * count))


def test_bad_partitions_are_refused() -> None:
    labels = np.array([0, 1, 1], np.int64)
    with pytest.raises(ValueError, match=r"alpha must be positive and at most .*, got 0"):
        class_preferences(num_clients=2, num_classes=2, alpha=0)
    with pytest.raises(ValueError, match="cannot split 2 classes among 0 clients"):
        class_preferences(num_clients=0, num_classes=2, alpha=1)
    with pytest.raises(ValueError, match="cannot split 3 examples among 4 clients"):
        skewed_partition(labels, np.full((4, 2), 0.5))
    with pytest.raises(ValueError, match="labels run from 0 to 1, but there are 1 classes"):
        skewed_partition(labels, np.ones((1, 1)))
    with pytest.raises(ValueError, match="leave none for training"):
        split_by_class(np.array([0, 1]))
    with pytest.raises(ValueError, match="there is no client 2; the 2 clients"):
        client_part([labels, labels], 2)
    with pytest.raises(ValueError, match="client 1 holds no examples"):
        client_part([labels, labels[:0]], 1)


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

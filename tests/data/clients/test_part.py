"""Does every client get its own part of the data, the same one whoever cuts it?"""

import numpy as np
import pytest

from reefl_edge.data.clients.part import Sharing, hold_out
from reefl_edge.data.dataset import ArrayDataset
from reefl_edge.errors import InputError
from tests.fakes.images import random_images


def dataset(makers: str | None, *, num_classes: int = 3) -> ArrayDataset:
    """Return an example per letter, which says who made it; twelve of nobody without letters."""
    count = 12 if makers is None else len(makers)
    labels = np.arange(count) % num_classes
    names = tuple(map(str, range(num_classes)))
    groups = None if makers is None else np.array([*makers])
    return ArrayDataset(random_images(count), labels, names, 16, groups)


def test_a_natural_client_is_a_writer_in_every_set() -> None:
    train, test = dataset("aabbbc"), dataset("cbab")

    own, own_test = Sharing().partition(train, test).of_client(1)

    assert own.groups is not None
    assert own_test.groups is not None
    assert own.groups.tolist() == ["b", "b", "b"]
    assert own_test.groups.tolist() == ["b", "b"]


def test_the_writers_with_the_most_examples_are_kept() -> None:
    (own,) = Sharing(num_clients=1).partition(dataset("aabbbc")).of_client(0)

    assert own.groups is not None
    assert set(own.groups) == {"b"}


def test_label_skew_shares_all_examples_and_no_example_twice() -> None:
    partition = Sharing(num_clients=3, alpha=0.5).partition(dataset(None))

    (parts,) = partition.parts
    assert sorted(np.concatenate(parts)) == list(range(12))
    assert partition.of_client(2)[0].labels.tolist() == (np.arange(12) % 3)[parts[2]].tolist()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"alpha": 0.0, "num_clients": 2}, "alpha must be positive"),
        ({"alpha": 1.0}, "label skew takes a number of clients"),
    ],
)
def test_no_data_is_shared_like_this(given: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Sharing(**given)  # type: ignore[arg-type]


def test_a_client_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match="there is no client 3; the 3 clients are counted from 0"):
        Sharing().partition(dataset("abc")).of_client(3)


def test_a_client_without_examples_to_be_measured_on_is_named() -> None:
    partition = Sharing().partition(dataset("aab"), dataset("aa"))

    with pytest.raises(InputError, match=r"no examples of client 1 \(b\)"):
        partition.of_client(1)


@pytest.mark.parametrize("makers", [("ab", None), (None, "ab")])
def test_data_of_nobody_has_no_natural_clients(makers: tuple[str | None, str | None]) -> None:
    with pytest.raises(InputError, match="does not say who made each example"):
        Sharing().partition(*map(dataset, makers))


def test_a_share_of_each_class_is_held_out() -> None:
    train, test = hold_out(dataset(None), 0.25)

    assert np.bincount(train.labels).tolist() == [3, 3, 3]
    assert np.bincount(test.labels).tolist() == [1, 1, 1]

"""Which part of the data does a client train on, and which is it measured on?

All clients cut the same data the same way, and each takes its own part: a federation on one
machine.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from reefl_edge.data.clients.partition import (
    check_alpha,
    check_enough,
    class_preferences,
    client_part,
    natural_partition,
    skewed_partition,
    split_by_class,
)
from reefl_edge.data.dataset import Dataset, Groups, Indices, Subset
from reefl_edge.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class Sharing:
    """How clients share data.

    Attributes:
        num_clients: How many there are; None for one per writer or speaker.
        alpha: Label skew (``class_preferences``); None where a client is a writer or a speaker, of
            whom those with the most examples are kept.

    Raises:
        ValueError: ``alpha`` is out of range, or there is one without a number of clients.
    """

    num_clients: int | None = None
    alpha: float | None = None

    def __post_init__(self) -> None:
        if self.alpha is not None:
            check_alpha(self.alpha)
            if self.num_clients is None:
                raise ValueError("label skew takes a number of clients")

    def partition(self, *sets: Dataset) -> "Partition":
        """Share sets of examples among clients.

        Args:
            sets: What to train on, which decides who is a client, and what else each client has a
                part of.

        Raises:
            ValueError: There are fewer examples, writers or speakers than clients.
            InputError: The data does not say who made each example.
        """
        cut = self._natural(sets) if self.alpha is None else self._skewed(sets, self.alpha)
        return Partition(sets, tuple(cut))

    def _skewed(self, sets: Sequence[Dataset], alpha: float) -> Iterator[list[Indices]]:
        """Draw the same preferences for all sets."""
        assert self.num_clients is not None  # held in __post_init__
        for whole in sets:  # before anything is drawn for each client
            check_enough(whole.labels, num_clients=self.num_clients)
        preferences = class_preferences(
            num_clients=self.num_clients, num_classes=len(sets[0].class_names), alpha=alpha
        )
        for whole in sets:
            yield skewed_partition(whole.labels, preferences)

    def _natural(self, sets: Sequence[Dataset]) -> Iterator[list[Indices]]:
        """Give every client, of each set, what its writer or speaker made."""
        first, *others = map(_makers, sets)
        parts = natural_partition(first, num_clients=self.num_clients)
        yield parts
        for makers in others:
            yield [np.flatnonzero(makers == first[part[0]]).astype(np.int64) for part in parts]


@dataclass(frozen=True, slots=True, eq=False)
class Partition:
    """Sets of examples, shared among clients.

    Attributes:
        sets: The sets.
        parts: Of each set, the examples of every client.
    """

    sets: tuple[Dataset, ...]
    parts: tuple[list[Indices], ...]

    def of_client(self, client_index: int) -> tuple[Dataset, ...]:
        """Return one client's part of each set.

        Args:
            client_index: The client, 0-based.

        Raises:
            ValueError: There is no such client, or it has nothing to train on.
            InputError: It has nothing of another set.
        """
        first = client_part(self.parts[0], client_index)
        own = [first, *(parts[client_index] for parts in self.parts[1:])]
        if not all(map(len, own)):  # only a writer or a speaker can be missing from a set
            name = _makers(self.sets[0])[first[0]]
            raise InputError(
                f"the evaluation data has no examples of client {client_index} ({name})"
            )
        return tuple(Subset(whole, part) for whole, part in zip(self.sets, own, strict=True))


def hold_out(dataset: Dataset, share: float) -> tuple[Dataset, Dataset]:
    """Keep a share of each class out of training; return what to train and to measure on.

    Raises:
        ValueError: The share is out of range, or leaves nothing to train on.
    """
    train, test = split_by_class(dataset.labels, test_share=share)
    return Subset(dataset, train), Subset(dataset, test)


def _makers(dataset: Dataset) -> Groups:
    if dataset.groups is None:
        raise InputError(
            "the data does not say who made each example; leave --natural out, and share it by "
            "label skew (--alpha)"
        )
    return dataset.groups

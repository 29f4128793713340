"""In which batches does training go through the examples of a dataset?"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from reefl_edge.data.dataset import Dataset, Indices
from reefl_edge.finetune.generators import GeneratorState
from reefl_edge.submodel import Architecture


def check_counts(*, epochs: int, batch_size: int) -> None:
    """Refuse to train for no epoch, or on batches of nothing."""
    if epochs < 1:
        raise ValueError(f"epochs must be at least 1, got {epochs}")
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")


def check_dataset(dataset: Dataset, architecture: Architecture) -> None:
    """Hold a dataset to the network that is to read it.

    Raises:
        ValueError: It is empty, or its classes are not those of the network.
    """
    labels, num_classes = dataset.labels, architecture.num_classes
    if len(labels) == 0:
        raise ValueError("the dataset is empty")
    if len(dataset.class_names) != num_classes:
        raise ValueError(
            f"the dataset has {len(dataset.class_names)} classes, the network {num_classes}"
        )
    if not 0 <= labels.min() <= labels.max() < num_classes:
        raise ValueError(
            f"labels run from {labels.min()} to {labels.max()}, "
            f"the network's classes from 0 to {num_classes - 1}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchesPosition:
    """How far batches have come.

    Attributes:
        num_taken: How many were taken, in all epochs.
        epoch_start: The generator, before it drew the order of the epoch of the last one.
    """

    num_taken: int
    epoch_start: GeneratorState


class ShuffledBatches(Iterator[Indices]):
    """Indices of examples, batch by batch, each epoch in an order of its own.

    An epoch's last batch may be partial. ``len`` is how many batches there are in all.

    Args:
        num_examples: How many examples there are.
        epochs: How often each of them comes.
        batch_size: Examples per batch.
        generator: Draws the order; one that others draw from, too, has no position to go to.
    """

    def __init__(
        self, num_examples: int, *, epochs: int, batch_size: int, generator: np.random.Generator
    ) -> None:
        self._num_examples = num_examples
        self._batch_size = batch_size
        self._generator = generator
        self._per_epoch = -(-num_examples // batch_size)
        self._length = epochs * self._per_epoch
        self._num_taken = 0
        self._epoch_start = GeneratorState.of(generator)
        self._order: Indices = np.empty(0, np.int64)

    def __len__(self) -> int:
        return self._length

    def __next__(self) -> Indices:
        if self._num_taken == self._length:
            raise StopIteration
        batch_index = self._num_taken % self._per_epoch
        if batch_index == 0:
            self._draw()
        self._num_taken += 1
        start = batch_index * self._batch_size
        return self._order[start : start + self._batch_size]

    @property
    def position(self) -> BatchesPosition:
        """How far they have come."""
        return BatchesPosition(num_taken=self._num_taken, epoch_start=self._epoch_start)

    def go_to(self, position: BatchesPosition) -> None:
        """Go on from where other batches of the same examples have come.

        Raises:
            ValueError: There are not so many batches.
        """
        if not 0 <= position.num_taken <= self._length:
            raise ValueError(f"there is no batch {position.num_taken} of {self._length}")
        position.epoch_start.put_into(self._generator)
        self._num_taken = position.num_taken
        if position.num_taken > 0:
            self._draw()

    def _draw(self) -> None:
        self._epoch_start = GeneratorState.of(self._generator)
        self._order = self._generator.permutation(self._num_examples)


class GivenBatches(Iterator[Indices]):
    """Indices of examples, batch by batch, in an order that somebody else has drawn.

    Args:
        order: All epochs one after the other, each with every example once.
        num_examples: How many examples there are.
        batch_size: Examples of a batch; an epoch's last one may be partial.

    Raises:
        ValueError: The order is none of such epochs.
    """

    def __init__(self, order: Sequence[int], *, num_examples: int, batch_size: int) -> None:
        indices = np.asarray(order, np.int64)
        if len(indices) == 0 or len(indices) % num_examples:
            raise ValueError(f"an order of {len(indices)} is none of {num_examples} examples")
        epochs = indices.reshape(-1, num_examples)
        if not (np.sort(epochs) == np.arange(num_examples)).all():
            raise ValueError(f"an epoch does not have each of {num_examples} examples once")
        starts = range(0, num_examples, batch_size)
        self._batches = [epoch[start : start + batch_size] for epoch in epochs for start in starts]
        self._num_taken = 0

    def __len__(self) -> int:
        return len(self._batches)

    def __next__(self) -> Indices:
        if self._num_taken == len(self._batches):
            raise StopIteration
        self._num_taken += 1
        return self._batches[self._num_taken - 1]

"""In which batches does training go through the examples of a dataset?"""

from collections.abc import Iterator

import numpy as np

from reefl_edge.data.dataset import Dataset, Indices
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


def num_steps(num_examples: int, *, epochs: int, batch_size: int) -> int:
    """Return how many batches ``shuffled_batches`` yields."""
    return epochs * -(-num_examples // batch_size)


def shuffled_batches(
    num_examples: int, *, epochs: int, batch_size: int, generator: np.random.Generator
) -> Iterator[Indices]:
    """Yield indices, each epoch in an order of its own; its last batch may be partial."""
    for _ in range(epochs):
        order = generator.permutation(num_examples)
        for start in range(0, num_examples, batch_size):
            yield order[start : start + batch_size]

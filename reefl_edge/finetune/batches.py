"""How do the examples of a dataset become batches that a network reads?

Letters: B batch, H and W image size.
"""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reefl_edge.data.base import Dataset, Images
from reefl_edge.models.preprocess import normalise
from reefl_edge.submodel import Architecture

Indices = NDArray[np.int64]


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


def network_input(images: Images, architecture: Architecture) -> Tensor:
    """Normalise 8-bit images (B, H, W, 3) for a network, to (B, 3, H, W).

    Raises:
        ValueError: They are not of the network's size.
    """
    size = architecture.image_size
    if images.shape[1:] != (size, size, 3):
        raise ValueError(f"the network reads images of {(size, size, 3)}, got {images.shape[1:]}")
    return normalise(torch.from_numpy(images), architecture.mean, architecture.std)


def labels_at(dataset: Dataset, indices: Indices) -> Tensor:
    """Return the labels at ``indices``, int64, (B,)."""
    return torch.from_numpy(dataset.labels[indices])

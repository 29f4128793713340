"""What is a dataset to the rest of the package?

Images are decoded and brought to the model's size only when a batch is asked for, so that a large
set at a large size fits in memory. A *group* is who made an example: a writer, a speaker.

Letters: N examples, B of them asked for, H and W image size, C classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from reefl_edge.data.images import resize

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]
Indices = NDArray[np.int64]
# Who made each example, (N,): numbers or names.
Groups = NDArray[Any]


class Dataset(Protocol):
    """Labelled images of one size."""

    @property
    def labels(self) -> Labels:
        """The class of every example, (N,)."""
        ...

    @property
    def class_names(self) -> tuple[str, ...]:
        """One name per class."""
        ...

    @property
    def groups(self) -> Groups | None:
        """Who made every example, (N,); None where that is not known."""
        ...

    @property
    def image_size(self) -> int:
        """Edge in pixels of the images given out."""
        ...

    def images(self, indices: Indices) -> Images:
        """Return the images at ``indices``, 8-bit RGB, (B, image_size, image_size, 3)."""
        ...

    def originals(self, indices: Indices) -> Sequence[Images]:
        """Return the images at ``indices`` as they were stored, each 8-bit RGB, (H, W, 3)."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class ArrayDataset:
    """A dataset whose images lie in memory, resized batch by batch.

    Attributes:
        pixels: 8-bit RGB, (N, H, W, 3), of any size.
        labels: The class of every example, (N,).
        class_names: One name per class.
        image_size: Edge in pixels of the images given out.
        groups: Who made every example, (N,), if known.
    """

    pixels: Images
    labels: Labels
    class_names: tuple[str, ...]
    image_size: int
    groups: Groups | None = None

    def __post_init__(self) -> None:
        if len(self.pixels) != len(self.labels):
            raise ValueError(f"{len(self.pixels)} images but {len(self.labels)} labels")
        check_labels(self.labels, num_classes=len(self.class_names))
        check_groups(self.groups, num_examples=len(self.labels))

    def images(self, indices: Indices) -> Images:
        """Return the images at ``indices``, (B, image_size, image_size, 3)."""
        return resize(self.pixels[indices], self.image_size)

    def originals(self, indices: Indices) -> Sequence[Images]:
        """Return the images at ``indices`` as they are stored, each (H, W, 3)."""
        return list(self.pixels[indices])

    def subset(self, indices: Indices) -> Self:
        """Return the examples at ``indices`` as a dataset of their own."""
        return type(self)(
            self.pixels[indices],
            self.labels[indices],
            self.class_names,
            self.image_size,
            None if self.groups is None else self.groups[indices],
        )


@dataclass(frozen=True, slots=True, eq=False)
class Subset:
    """Some examples of a dataset, which stays where it is.

    Attributes:
        whole: The dataset.
        indices: Which of its examples, (N,), in which order.
    """

    whole: Dataset
    indices: Indices

    @property
    def labels(self) -> Labels:
        """The class of every example, (N,)."""
        return self.whole.labels[self.indices]

    @property
    def class_names(self) -> tuple[str, ...]:
        """One name per class, also of classes that the subset lacks."""
        return self.whole.class_names

    @property
    def groups(self) -> Groups | None:
        """Who made every example, (N,), if known."""
        return None if self.whole.groups is None else self.whole.groups[self.indices]

    @property
    def image_size(self) -> int:
        """Edge in pixels of the images given out."""
        return self.whole.image_size

    def images(self, indices: Indices) -> Images:
        """Return the images at ``indices`` of the subset."""
        return self.whole.images(self.indices[indices])

    def originals(self, indices: Indices) -> Sequence[Images]:
        """Return the images at ``indices`` of the subset as they are stored."""
        return self.whole.originals(self.indices[indices])


def num_examples(dataset: Dataset) -> int:
    """Return how many examples a dataset has."""
    return len(dataset.labels)


def as_labels(labels: NDArray[Any]) -> Labels:
    """Return labels (N,) of any integer type as int64.

    Raises:
        ValueError: They are not integers (N,), or there are none.
    """
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"labels must be integers (N,), got {labels.dtype} {labels.shape}")
    if not len(labels):
        raise ValueError("it holds no examples")
    return labels.astype(np.int64)


def check_labels(labels: Labels, *, num_classes: int) -> None:
    """Refuse labels (N,) outside the classes.

    Raises:
        ValueError: A label is negative, or not less than ``num_classes``.
    """
    if len(labels) and not 0 <= labels.min() <= labels.max() < num_classes:
        raise ValueError(
            f"labels run from {labels.min()} to {labels.max()}, but there are "
            f"{num_classes} classes, counted from 0"
        )


def check_groups(groups: Groups | None, *, num_examples: int) -> None:
    """Refuse groups that do not say of every example who made it.

    Raises:
        ValueError: There is not one group per example.
    """
    if groups is not None and groups.shape != (num_examples,):
        raise ValueError(f"groups must be ({num_examples},), got {groups.shape}")

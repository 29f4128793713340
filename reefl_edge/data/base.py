"""What is a dataset to the rest of the package?

Images are decoded and brought to the model's size only when a batch is asked for, so that a large
set at a large size fits in memory.
"""

from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from reefl_edge.data.images import resize

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]


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

    def images(self, indices: NDArray[np.int64]) -> Images:
        """Return the images at ``indices``, 8-bit RGB, (B, H, W, 3)."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class ArrayDataset:
    """A dataset whose images lie in memory, resized batch by batch.

    Attributes:
        pixels: 8-bit RGB, (N, H, W, 3), of any size.
        labels: The class of every example, (N,).
        class_names: One name per class.
        image_size: Edge in pixels of the images given out.
    """

    pixels: Images
    labels: Labels
    class_names: tuple[str, ...]
    image_size: int

    def __post_init__(self) -> None:
        if len(self.pixels) != len(self.labels):
            raise ValueError(f"{len(self.pixels)} images but {len(self.labels)} labels")
        if len(self.labels) and not 0 <= self.labels.min() <= self.labels.max() < len(
            self.class_names
        ):
            raise ValueError(
                f"labels run from {self.labels.min()} to {self.labels.max()}, but there are "
                f"{len(self.class_names)} classes, counted from 0"
            )

    def images(self, indices: NDArray[np.int64]) -> Images:
        """Return the images at ``indices``, (B, image_size, image_size, 3)."""
        return resize(self.pixels[indices], self.image_size)

    def subset(self, indices: NDArray[np.int64]) -> Self:
        """Return the examples at ``indices`` as a dataset of their own."""
        return type(self)(
            self.pixels[indices], self.labels[indices], self.class_names, self.image_size
        )


def num_examples(dataset: Dataset) -> int:
    """Return how many examples a dataset has."""
    return len(dataset.labels)

"""Is a dataset the same wherever it lies, and another as soon as it teaches something else?"""

from dataclasses import replace

import numpy as np
import pytest

from reefl_edge.data.dataset import ArrayDataset, Dataset, Subset
from reefl_edge.data.hashes import dataset_sha256
from tests.fakes.images import random_images

# More than are hashed at once.
COUNT = 70
DATA = ArrayDataset(random_images(COUNT, edge=8), np.arange(COUNT) % 3, ("a", "b", "c"), 16)


def test_the_same_examples_are_the_same_dataset() -> None:
    whole = Subset(DATA, np.arange(COUNT))

    assert dataset_sha256(whole) == dataset_sha256(DATA)


def changed_pixel() -> ArrayDataset:
    pixels = DATA.pixels.copy()
    pixels[COUNT - 1, 7, 7, 2] ^= 1
    return replace(DATA, pixels=pixels)


@pytest.mark.parametrize(
    "other",
    [
        changed_pixel(),
        replace(DATA, labels=DATA.labels[::-1]),
        replace(DATA, class_names=("a", "c", "b")),
        replace(DATA, pixels=DATA.pixels.reshape(COUNT, 4, 16, 3)),
        Subset(DATA, np.arange(COUNT - 1)),
        Subset(DATA, np.r_[1, 0, 2:COUNT]),
    ],
    ids=["pixel", "labels", "names", "shape", "fewer", "order"],
)
def test_what_teaches_something_else_is_another_dataset(other: Dataset) -> None:
    assert dataset_sha256(other) != dataset_sha256(DATA)

"""Are the real packs read as their READMEs describe them? Opt-in: REEFL_EDGE_DATA names them."""

import os
from pathlib import Path

import numpy as np
import pytest

from reefl_edge.data.clients.partition import class_preferences, natural_partition, skewed_partition
from reefl_edge.data.dataset import Dataset
from reefl_edge.data.reading import read_dataset

FOLDER = os.environ.get("REEFL_EDGE_DATA")

pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(FOLDER is None, reason="REEFL_EDGE_DATA does not name the real packs"),
]


def read(name: str, num_classes: int) -> Dataset:
    names = tuple(str(index) for index in range(num_classes))
    return read_dataset(Path(FOLDER or "", name), image_size=32, class_names=names)


@pytest.mark.parametrize(
    ("name", "num_classes", "num_examples", "num_groups"),
    [
        ("cifar100/cifar100.npz#train", 100, 11_500, None),
        ("cifar100/cifar100.npz#test", 100, 2_500, None),
        ("femnist/femnist.npz#train", 62, 14_561, 105),
        ("femnist/femnist.npz#heldout", 62, 2_493, 85),
        ("fsdd/fsdd.npz#train", 10, 2_700, 6),
        ("fsdd/fsdd.npz#test", 10, 300, 6),
        ("arabic_speech_commands/arabic_speech_commands_8kw.npz#train", 8, 576, 18),
        ("arabic_speech_commands/arabic_speech_commands_8kw.npz", 8, 960, 30),
    ],
)
def test_a_pack_has_what_its_readme_says(
    name: str, num_classes: int, num_examples: int, num_groups: int | None
) -> None:
    dataset = read(name, num_classes)

    assert len(dataset.labels) == num_examples
    assert len(dataset.class_names) == num_classes
    images = dataset.images(np.array([0, num_examples - 1]))
    assert images.shape == (2, 32, 32, 3)
    assert images.std() > 10
    if num_groups is None:
        assert dataset.groups is None
    else:
        assert dataset.groups is not None
        assert len(natural_partition(dataset.groups)) == num_groups


def test_cifar_100_is_shared_among_a_hundred_skewed_clients() -> None:
    preferences = class_preferences(num_clients=100, num_classes=100, alpha=0.1)

    train = skewed_partition(read("cifar100/cifar100.npz#train", 100).labels, preferences)
    test = skewed_partition(read("cifar100/cifar100.npz#test", 100).labels, preferences)

    assert {len(part) for part in train} == {115}
    assert {len(part) for part in test} == {25}

"""Do all examples reach the network, in the form it reads?"""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from reefl_edge.data.dataset import ArrayDataset, Images, Labels
from reefl_edge.finetune.batches import GivenBatches, ShuffledBatches, check_dataset
from reefl_edge.models.preprocess import network_input
from tests.fakes.images import random_images
from tests.fakes.submodels import TINY_ARCHITECTURE


@dataclass(frozen=True)
class UncheckedDataset:
    """A dataset of somebody else's, which holds its labels to nothing."""

    labels: Labels
    class_names: tuple[str, ...] = ("a", "b", "c")
    groups: None = None
    image_size: int = 16

    def images(self, indices: NDArray[np.int64]) -> Images:
        """Return noise."""
        return random_images(len(indices))

    def originals(self, indices: NDArray[np.int64]) -> list[Images]:
        """Return noise, image by image."""
        return list(self.images(indices))


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_epoch_holds_every_example_once_and_keeps_the_partial_batch() -> None:
    batches = list(ShuffledBatches(70, epochs=1, batch_size=32, generator=generator()))

    assert [len(indices) for indices in batches] == [32, 32, 6]
    assert sorted(np.concatenate(batches)) == list(range(70))


def test_each_epoch_has_an_order_of_its_own() -> None:
    first, second = ShuffledBatches(50, epochs=2, batch_size=50, generator=generator())

    assert not np.array_equal(first, second)
    assert not np.array_equal(first, np.arange(50))
    assert sorted(second) == list(range(50))


def test_batches_in_an_order_that_was_given_are_those_that_it_was_drawn_as() -> None:
    drawn = list(ShuffledBatches(7, epochs=2, batch_size=3, generator=generator()))

    given = list(GivenBatches(np.concatenate(drawn).tolist(), num_examples=7, batch_size=3))

    assert [indices.tolist() for indices in given] == [indices.tolist() for indices in drawn]


@pytest.mark.parametrize("order", [[], [0, 1], [0, 1, 1], [0, 1, 3], [0, 1, 2, 2, 1, 1]])
def test_an_order_that_is_none_of_the_examples_is_refused(order: list[int]) -> None:
    with pytest.raises(ValueError, match=r"is none of 3 examples|each of 3 examples once"):
        GivenBatches(order, num_examples=3, batch_size=2)


def test_seed_sets_the_order() -> None:
    def order(seed: int) -> list[int]:
        batches = ShuffledBatches(50, epochs=1, batch_size=50, generator=generator(seed))
        return [int(index) for index in next(batches)]

    assert order(3) == order(3)
    assert order(3) != order(4)


@pytest.mark.parametrize(
    ("num_examples", "epochs", "expected"), [(64, 1, 2), (65, 1, 3), (1, 1, 1), (33, 5, 10)]
)
def test_steps_are_counted_with_the_partial_batch(
    num_examples: int, epochs: int, expected: int
) -> None:
    batches = ShuffledBatches(num_examples, epochs=epochs, batch_size=32, generator=generator())

    assert len(batches) == expected
    assert len(list(batches)) == expected


@pytest.mark.parametrize("num_taken", range(7))
def test_batches_go_on_from_where_others_came_to(num_taken: int) -> None:
    whole = [indices.tolist() for indices in some_batches()]
    first = some_batches()
    for _ in range(num_taken):
        next(first)

    second = some_batches()
    second.go_to(first.position)

    assert [indices.tolist() for indices in second] == whole[num_taken:]


def some_batches() -> ShuffledBatches:
    """Two epochs of batches of 3, 3 and 1, and one more of the generator's numbers before."""
    drawn_from = generator()
    drawn_from.permutation(5)
    return ShuffledBatches(7, epochs=2, batch_size=3, generator=drawn_from)


def test_batches_do_not_go_to_where_there_is_none() -> None:
    position = replace(some_batches().position, num_taken=7)

    with pytest.raises(ValueError, match="there is no batch 7 of 6"):
        some_batches().go_to(position)


def test_input_is_normalised_per_channel() -> None:
    images = np.zeros((1, 16, 16, 3), np.uint8)
    images[..., 2] = 255

    pixels = network_input(images, TINY_ARCHITECTURE)

    assert pixels.shape == (1, 3, 16, 16)
    # Means 0.5, 0.4, 0.3 and deviations 0.2, 0.25, 0.3.
    expected = torch.tensor([(0 - 0.5) / 0.2, (0 - 0.4) / 0.25, (1 - 0.3) / 0.3])
    torch.testing.assert_close(pixels[0, :, 7, 7], expected)


def test_images_of_another_size_are_refused() -> None:
    with pytest.raises(ValueError, match=r"reads images of \(16, 16, 3\), got \(32, 32, 3\)"):
        network_input(random_images(1, edge=32), TINY_ARCHITECTURE)


def test_fitting_dataset_passes(tiny_dataset: ArrayDataset) -> None:
    check_dataset(tiny_dataset, TINY_ARCHITECTURE)


def test_empty_dataset_is_refused(tiny_dataset: ArrayDataset) -> None:
    with pytest.raises(ValueError, match="the dataset is empty"):
        check_dataset(tiny_dataset.subset(np.array([], np.int64)), TINY_ARCHITECTURE)


def test_dataset_of_other_classes_is_refused() -> None:
    dataset = ArrayDataset(random_images(1), np.array([1]), ("a", "b"), 16)
    with pytest.raises(ValueError, match="the dataset has 2 classes, the network 3"):
        check_dataset(dataset, TINY_ARCHITECTURE)


@pytest.mark.parametrize(("labels", "span"), [([0, 3], "0 to 3"), ([-1, 2], "-1 to 2")])
def test_label_outside_the_classes_is_refused(labels: list[int], span: str) -> None:
    dataset = UncheckedDataset(np.array(labels))
    with pytest.raises(ValueError, match=f"labels run from {span}, the network's classes from 0"):
        check_dataset(dataset, TINY_ARCHITECTURE)

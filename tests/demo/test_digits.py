"""Are the demo's digits the real ones, and is no test digit seen in training?"""

from pathlib import Path

import numpy as np

from reefl_edge.data.dataset import ArrayDataset
from reefl_edge.data.reading import read_dataset
from reefl_edge.demo.digits import load_digits, save_digits, split_digits


def pictures(dataset: ArrayDataset) -> list[bytes]:
    return [image.tobytes() for image in dataset.pixels]


def test_all_scanned_digits_are_there_in_full_range() -> None:
    digits = load_digits(image_size=32)

    assert digits.pixels.shape == (1797, 8, 8, 3)
    assert digits.images(np.arange(3)).shape == (3, 32, 32, 3)
    assert (digits.pixels.min(), digits.pixels.max()) == (0, 255)
    assert digits.class_names == tuple("0123456789")
    assert np.bincount(digits.labels).min() == 174


def test_split_shares_out_every_digit_once() -> None:
    digits = load_digits(image_size=32)

    split = split_digits(digits, seed=3)
    parts = (split.public, split.private, split.validation, split.test)

    assert [len(part.labels) for part in parts] == [900, 300, 197, 400]
    together = [picture for part in parts for picture in pictures(part)]
    assert sorted(together) == sorted(pictures(digits))
    assert sum(part.labels.sum() for part in parts) == digits.labels.sum()


def test_saved_digits_are_read_again_with_their_names(tmp_path: Path) -> None:
    digits = load_digits(image_size=32).subset(np.arange(20))

    save_digits(digits, tmp_path / "digits.npz")
    again = read_dataset(tmp_path / "digits.npz", image_size=32)

    assert again.class_names == tuple("0123456789")
    assert np.array_equal(again.labels, digits.labels)
    assert np.array_equal(again.images(np.arange(20)), digits.images(np.arange(20)))


def test_seed_sets_the_split() -> None:
    digits = load_digits(image_size=32)
    first, again, other = (split_digits(digits, seed=seed).test.labels for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)

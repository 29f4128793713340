"""Are training images varied within the limits, and the same way for the same seed?"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reefl_edge.data.augment import AUGMENTATIONS, augment, random_crop, random_flip
from tests.fakes.images import random_images


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.05, 0.08]))
def test_a_crop_is_a_part_of_the_image_within_the_limits(seed: int, smallest: float) -> None:
    rows, columns = np.mgrid[:32, :40].astype(np.uint8)
    image = np.stack([rows, columns, rows], -1)

    crop = random_crop(image, smallest, np.random.default_rng(seed))

    top, left = crop[0, 0, :2]
    assert np.array_equal(crop, image[top : top + crop.shape[0], left : left + crop.shape[1]])
    assert crop.shape[0] * crop.shape[1] >= 0.8 * smallest * 32 * 40  # edges are whole pixels
    assert 0.6 < crop.shape[1] / crop.shape[0] < 1.67


def test_an_image_too_long_for_any_crop_gives_its_middle() -> None:
    image = np.arange(300, dtype=np.uint8)[None, :, None].repeat(3, 2).repeat(4, 0)

    crop = random_crop(image, 0.9, np.random.default_rng(0))

    assert np.array_equal(crop, image[:, 147:152])


def test_half_of_the_images_are_mirrored() -> None:
    image, generator = random_images(1)[0], np.random.default_rng(0)
    flips = [random_flip(image, generator) for _ in range(200)]

    mirrored = sum(np.array_equal(flip, image[:, ::-1]) for flip in flips)

    assert mirrored + sum(np.array_equal(flip, image) for flip in flips) == 200
    assert 70 < mirrored < 130


@pytest.mark.parametrize("augmentation", AUGMENTATIONS)
def test_images_have_the_models_size_and_follow_the_seed(augmentation: str) -> None:
    images = list(random_images(3, edge=20))
    chosen = next(name for name in AUGMENTATIONS if name == augmentation)

    first, again, other = (
        augment(images, 24, chosen, np.random.default_rng(seed)) for seed in (1, 1, 2)
    )

    assert first.shape == (3, 24, 24, 3)
    assert first.dtype == np.uint8
    assert np.array_equal(first, again)
    assert np.array_equal(first, other) == (augmentation == "none")

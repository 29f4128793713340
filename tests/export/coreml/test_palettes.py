"""Do few numbers stand for many weights as well as they can?"""

import numpy as np
import pytest
from numpy.typing import NDArray

from reefl_export.coreml.palettes import PALETTE_SIZE, palettize


def _errors(groups: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the mean squared error of each group."""
    palettes, indices = palettize(groups)
    errors: NDArray[np.float32] = np.square(_widened(palettes, indices) - groups).mean(axis=1)
    return errors


def _widened(palettes: NDArray[np.float32], indices: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.take_along_axis(palettes, indices.astype(np.intp), axis=1)


@pytest.mark.parametrize("num_values", [1, 2, 5])
def test_few_values_are_kept(num_values: int) -> None:
    values = np.random.default_rng(0).normal(size=(3, num_values)).astype(np.float32)
    groups = np.tile(values, 5)

    np.testing.assert_allclose(_widened(*palettize(groups)), groups, atol=1e-7)


def test_evenly_spread_weights_get_evenly_spread_numbers() -> None:
    groups = np.linspace(-1, 1, 1600, dtype=np.float32)[None]

    palettes, _ = palettize(groups)

    steps = (np.arange(PALETTE_SIZE) + 0.5) / PALETTE_SIZE
    np.testing.assert_allclose(palettes[0], 2 * steps - 1, atol=2e-3)


def test_normal_weights_lose_what_the_best_palette_loses() -> None:
    groups = np.random.default_rng(0).normal(size=(4, 24_000)).astype(np.float32)

    # Max 1960, "Quantizing for minimum distortion": 16 numbers for a normal distribution.
    np.testing.assert_allclose(_errors(groups), 0.009497, rtol=0.03)


def test_a_few_weights_far_out_do_not_spoil_the_others() -> None:
    near = np.random.default_rng(0).normal(size=(4, 6000)).astype(np.float32)
    far = np.full((4, 4), 100, np.float32) * (-1, 1, -1, 1)

    errors = _errors(np.hstack((near, far)).astype(np.float32))

    # Two of the numbers go there; 14 for the others would lose 0.0123 at best.
    assert errors.max() < 0.0140


def test_a_group_is_palettized_by_itself() -> None:
    groups = np.random.default_rng(0).normal(size=(5, 700)).astype(np.float32)

    together, alone = palettize(groups), palettize(groups[2:3])

    np.testing.assert_array_equal(together[0][2:3], alone[0])
    np.testing.assert_array_equal(together[1][2:3], alone[1])


def test_weights_get_the_number_nearest_to_them() -> None:
    groups = np.random.default_rng(0).normal(size=(2, 3000)).astype(np.float32)
    palettes, indices = palettize(groups)

    distances = np.abs(groups[:, :, None] - palettes[:, None])
    spread = np.ptp(groups, axis=1, keepdims=True)
    chosen = np.abs(_widened(palettes, indices) - groups)
    assert (chosen <= distances.min(axis=2) + spread / 4096).all()

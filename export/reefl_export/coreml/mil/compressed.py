"""Which weights do scaled integers and palettes stand for?

Both are cut into blocks along each axis, whose number the scales or palettes tell: a scale or a
palette serves the block that its index is at.

Source: Apple's MIL reference, ``constexpr_*`` of iOS 18.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def blockwise_shift_scale(
    data: NDArray[np.int8], scale: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return scaled integers as numbers.

    Args:
        data: The integers, of any shape.
        scale: A scale per block, of as many axes.
    """
    blocks = _blocks(data.shape, scale.shape)
    weights: NDArray[np.float32] = data.reshape(blocks) * _per_block(scale, scale.shape)
    return weights.reshape(data.shape)


def lut_to_dense(indices: NDArray[np.uint8], lut: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return what indices into palettes stand for.

    Args:
        indices: The indices, of any shape.
        lut: A palette per block: as many axes as ``indices``, then those of the palette,
            (entries, 1).

    Raises:
        ValueError: The entries of a palette are not single numbers.
    """
    *grid, entries, size = lut.shape
    if size != 1:
        raise ValueError(f"palettes of {size} numbers an entry")
    palettes = lut.reshape(-1, entries)  # (blocks, entries)
    block = _per_block(np.arange(len(palettes)).reshape(grid), tuple(grid))
    weights: NDArray[np.float32] = palettes[
        block, indices.reshape(_blocks(indices.shape, tuple(grid)))
    ]
    return weights.reshape(indices.shape)


def _blocks(shape: tuple[int, ...], grid: tuple[int, ...]) -> list[int]:
    """Return a shape with each axis cut in two: which block, and where in it."""
    return [
        size for axis in zip(grid, shape, strict=True) for size in (axis[0], axis[1] // axis[0])
    ]


def _per_block(array: NDArray[Any], grid: tuple[int, ...]) -> NDArray[Any]:
    """Give what there is of each block the axes of ``_blocks``."""
    return array.reshape([size for blocks in grid for size in (blocks, 1)])

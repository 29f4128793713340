"""Which weights do scaled integers and palettes stand for?

Both are cut into blocks along each axis, whose number the scales or palettes tell: a scale or a
palette serves the block that its index is at.

Source: Apple's MIL reference, ``constexpr_*`` of iOS 18.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


def blockwise_shift_scale(data: Tensor, scale: Tensor) -> Tensor:
    """Return scaled integers as numbers.

    Args:
        data: The integers, int8, of any shape.
        scale: A scale per block, of as many axes.
    """
    blocks = _blocks(data.shape, scale.shape)
    return (data.reshape(blocks) * _per_block(scale, scale.shape)).reshape(data.shape)


def lut_to_dense(indices: Tensor, lut: Tensor) -> Tensor:
    """Return what indices into palettes stand for.

    Args:
        indices: The indices, uint8, of any shape.
        lut: A palette per block: as many axes as ``indices``, then those of the palette,
            (entries, 1).

    Raises:
        ValueError: The entries of a palette are not single numbers.
    """
    *grid, entries, size = lut.shape
    if size != 1:
        raise ValueError(f"palettes of {size} numbers an entry")
    palettes = lut.reshape(-1, entries)  # (blocks, entries)
    block = _per_block(torch.arange(len(palettes)).reshape(grid), grid)
    weights = palettes[block, indices.reshape(_blocks(indices.shape, grid)).long()]
    return weights.reshape(indices.shape)


def _blocks(shape: Sequence[int], grid: Sequence[int]) -> list[int]:
    """Return a shape with each axis cut in two: which block, and where in it."""
    return [
        size for axis in zip(grid, shape, strict=True) for size in (axis[0], axis[1] // axis[0])
    ]


def _per_block(array: Tensor, grid: Sequence[int]) -> Tensor:
    """Give what there is of each block the axes of ``_blocks``."""
    return array.reshape([size for blocks in grid for size in (blocks, 1)])

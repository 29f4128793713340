"""How does a position embedding fit another image size?

Its rows are a grid of patches, seen as an image of D channels and resized: bicubic, with
antialiasing. Source: timm, layers/pos_embed.py, ``resample_abs_pos_embed``; DeiT's own fine-tuning
does the same without antialiasing.

Letters: N tokens, D width, G patches along an edge.
"""

from dataclasses import replace
from math import isqrt

import numpy as np
from numpy.typing import NDArray

from reefl_edge.array_files.safetensors import Arrays
from reefl_edge.extras import needs_extra
from reefl_edge.submodel import Submodel


def resized(submodel: Submodel, arrays: Arrays, image_size: int | None) -> tuple[Submodel, Arrays]:
    """Return a sub-model and its arrays for another image size; None keeps it.

    Raises:
        ValueError: ``image_size`` is no multiple of the patch size.
        MissingToolchainError: torch is not installed.
    """
    if image_size is None or image_size == submodel.architecture.image_size:
        return submodel, arrays
    architecture = replace(submodel.architecture, image_size=image_size)
    pos_embed = interpolate(arrays["pos_embed"], num_tokens=architecture.num_tokens)
    return replace(submodel, architecture=architecture), {**arrays, "pos_embed": pos_embed}


def interpolate(pos_embed: NDArray[np.float32], *, num_tokens: int) -> NDArray[np.float32]:
    """Interpolate a position embedding to another number of tokens.

    Args:
        pos_embed: One row for the class token, then those of a square grid, (1, 1 + G * G, D).
        num_tokens: Tokens wanted, one more than a square.

    Returns:
        The row of the class token unchanged, the others interpolated, (1, ``num_tokens``, D).

    Raises:
        MissingToolchainError: torch is not installed.
    """
    with needs_extra("interpolating a position embedding", "torch", "train"):
        import torch
        from torch.nn import functional
    old, new, width = isqrt(pos_embed.shape[1] - 1), isqrt(num_tokens - 1), pos_embed.shape[2]
    if old == new:
        return pos_embed
    cls_row, grid = pos_embed[:, :1], torch.from_numpy(pos_embed[:, 1:].copy())
    image = grid.reshape(1, old, old, width).permute(0, 3, 1, 2)  # (1, D, G, G)
    image = functional.interpolate(image, size=(new, new), mode="bicubic", antialias=True)
    rows = image.permute(0, 2, 3, 1).reshape(1, new * new, width).numpy()
    return np.concatenate([cls_row, rows], axis=1)

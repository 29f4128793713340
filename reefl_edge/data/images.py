"""How do files and arrays become 8-bit RGB images of the model's size?

Grey becomes three equal channels; the resizing is bilinear. Only a file that does not decode is an
error.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from reefl_edge.errors import InputError

IMAGE_SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".webp"})


def decode(path: Path) -> NDArray[np.uint8]:
    """Read an image file as 8-bit RGB, (H, W, 3).

    Raises:
        InputError: The file is missing or does not decode.
    """
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file") from error
    except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(f"{path}: not a readable image") from error


def as_rgb(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """Give an array of grey (N, H, W) or colour (N, H, W, 3) images three channels.

    Raises:
        ValueError: It is neither, or not 8-bit.
    """
    if pixels.dtype != np.uint8:
        raise ValueError(f"images must be uint8, got {pixels.dtype}")
    if pixels.ndim == 3:
        return np.repeat(pixels[..., None], 3, axis=-1)
    if pixels.ndim == 4 and pixels.shape[-1] == 3:
        return pixels
    raise ValueError(f"images must be (N, H, W, 3) or (N, H, W), got {pixels.shape}")


def resize(pixels: NDArray[np.uint8], image_size: int) -> NDArray[np.uint8]:
    """Bring images (N, H, W, 3) to (N, image_size, image_size, 3)."""
    if pixels.shape[1:3] == (image_size, image_size):
        return pixels
    resized = np.empty((len(pixels), image_size, image_size, 3), np.uint8)
    for index, image in enumerate(pixels):
        resized[index] = np.asarray(
            Image.fromarray(image).resize((image_size, image_size), Image.Resampling.BILINEAR)
        )
    return resized

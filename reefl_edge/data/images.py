"""How do files and arrays become 8-bit RGB images of the model's size?

Grey becomes three equal channels, 16 bits become 8, a photograph is turned as its EXIF data says,
what is transparent shows a white page, and the resizing is bilinear. What is no picture of 8 or 16
bits, or has no pixels, is an error: a guess at its range would be answered with confidence.
"""

import struct
import warnings
import zlib
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.TiffImagePlugin import BITSPERSAMPLE, PHOTOMETRIC_INTERPRETATION, TiffImageFile

from reefl_edge.errors import InputError
from reefl_edge.files import regular_file

# How the files of a format are called, by Pillow's name for it. Others that Pillow knows are
# refused: what their pixels mean is not known here, and opening an EPS would start Ghostscript.
_SUFFIXES = {
    "AVIF": (".avif",),
    "BMP": (".bmp",),
    "GIF": (".gif",),
    "JPEG": (".jfif", ".jpe", ".jpeg", ".jpg"),
    "JPEG2000": (".j2k", ".jp2"),
    "MPO": (".mpo",),  # a JPEG file with several pictures; telephones call it .jpg
    "PNG": (".png",),
    "PPM": (".pbm", ".pgm", ".pnm", ".ppm"),
    "TIFF": (".tif", ".tiff"),
    "WEBP": (".webp",),
}
IMAGE_SUFFIXES = frozenset(suffix for suffixes in _SUFFIXES.values() for suffix in suffixes)

# What transparent parts show. Drawings, logos and cut-outs are made to lie on a white page; on
# black, their dark strokes would be gone.
PAGE = (255, 255, 255)

_EIGHT_BIT_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV")
_SIXTEEN_BIT_MODES = ("I;16", "I;16B", "I;16L", "I;16N")
# Of these, Pillow gives 16-bit grey as 32-bit integers from 0 to 65,535 (PNG: before 10.3).
_SIXTEEN_BITS_AS_INTEGERS = ("PNG", "PPM")
_WHITE_IS_ZERO = 0  # a value of PHOTOMETRIC_INTERPRETATION

# What Pillow's readers let through when bytes of a file are missing or wrong.
_DAMAGED = (
    ArithmeticError, AssertionError, AttributeError, EOFError, LookupError, MemoryError, OSError,
    RuntimeError, SyntaxError, TypeError, ValueError, Image.DecompressionBombError, struct.error,
    zlib.error,
)  # fmt: skip


class _NoWarnings:
    """Drops warnings, which Pillow gives of what it reads all the same, in any thread at once.

    Python's own way to do so keeps one state for all threads: the first to come sets it, the last
    to go restores it.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._num_inside = 0
        self._before = warnings.catch_warnings()

    def __enter__(self) -> None:
        with self._lock:
            if not self._num_inside:
                self._before = warnings.catch_warnings()
                self._before.__enter__()
                warnings.simplefilter("ignore")
            self._num_inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._num_inside -= 1
            if not self._num_inside:
                self._before.__exit__(None, None, None)


_no_warnings = _NoWarnings()


def read_image(path: str | Path, *, image_size: int) -> NDArray[np.uint8]:
    """Read an image file as a network takes it: a batch of one, (1, image_size, image_size, 3).

    Raises:
        InputError: As for ``decode``.
    """
    return resize(decode(Path(path))[None], image_size)


def decode(path: Path) -> NDArray[np.uint8]:
    """Read an image file as 8-bit RGB, (H, W, 3); of several pictures, the first.

    Raises:
        InputError: The file is missing, does not decode, or its pixels are neither 8 nor 16 bits.
    """
    regular_file(path)
    try:
        # Of an open file: of a path, Pillow 13 maps an uncompressed TIFF that is turned by EXIF
        # into memory at the turned size, and mixes its rows.
        with _no_warnings, path.open("rb") as file, Image.open(file) as image:
            return _decoded(image)
    except UnidentifiedImageError as error:
        raise InputError(f"{path}: not a readable image") from error
    except _DAMAGED as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: not a readable image: {reason}") from error


def _decoded(image: Image.Image) -> NDArray[np.uint8]:
    """Return an open file as 8-bit RGB, (H, W, 3).

    Raises:
        ValueError: It is of another format or kind of pixels, or has none.
    """
    if image.format not in _SUFFIXES:
        raise ValueError(f"it is {image.format}, none of {', '.join(_SUFFIXES)}")
    if not image.width or not image.height:
        raise ValueError(f"it has {image.width} x {image.height} pixels")
    if _is_sixteen_bit_grey(image):
        grey = np.asarray(ImageOps.exif_transpose(image))
        is_negative = _tag(image, PHOTOMETRIC_INTERPRETATION) == _WHITE_IS_ZERO
        deep = 65535 - grey if is_negative else grey
        return np.asarray(as_rgb(deep.astype(np.uint16)[None])[0])
    if image.mode not in _EIGHT_BIT_MODES:
        raise ValueError(f"its pixels are of mode {image.mode!r}, not of 8 or 16 bits")
    return np.asarray(_on_page(ImageOps.exif_transpose(image)))


def _is_sixteen_bit_grey(image: Image.Image) -> bool:
    """Say whether an image is grey from 0 to 65,535.

    Raises:
        ValueError: It has another range, though Pillow calls it the same.
    """
    if image.mode not in _SIXTEEN_BIT_MODES:
        return image.mode == "I" and image.format in _SIXTEEN_BITS_AS_INTEGERS
    bits = _tag(image, BITSPERSAMPLE)
    if bits not in (None, (16,)):
        raise ValueError(f"its pixels are of {bits[0]} bits, not of 8 or 16")
    return True


def _tag(image: Image.Image, number: int) -> Any:
    """Return what a TIFF file says under a number; None for what says nothing."""
    return image.tag_v2.get(number) if isinstance(image, TiffImageFile) else None


def _on_page(image: Image.Image) -> Image.Image:
    """Return an 8-bit image as RGB, what is transparent showing the page."""
    if image.mode not in ("LA", "PA", "RGBA") and "transparency" not in image.info:
        return image.convert("RGB")
    page = Image.new("RGBA", image.size, PAGE)
    return Image.alpha_composite(page, image.convert("RGBA")).convert("RGB")


def as_rgb(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """Give an array of grey (N, H, W) or colour (N, H, W, 3) images three channels of 8 bits.

    Of 16 bits, the full range counts: 65,535 becomes 255.

    Raises:
        ValueError: It is neither, its images have no pixels, or these are not of 8 or 16 bits.
    """
    if pixels.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"images must be uint8 or uint16, got {pixels.dtype}")
    is_grey = pixels.ndim == 3
    if not is_grey and (pixels.ndim != 4 or pixels.shape[-1] != 3):
        raise ValueError(f"images must be (N, H, W, 3) or (N, H, W), got {pixels.shape}")
    if 0 in pixels.shape[1:]:
        raise ValueError(f"images must have pixels, got {pixels.shape}")
    if pixels.dtype == np.uint16:
        # 255 = 65,535 / 257; the divisor is odd, so that half of it, cut, rounds to the nearest.
        pixels = (pixels.astype(np.uint32) + 128) // 257
    eight_bit = pixels.astype(np.uint8, copy=False)
    return np.repeat(eight_bit[..., None], 3, axis=-1) if is_grey else eight_bit


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

"""Which images do files, folders and arrays hold, and how is one read once its turn comes?"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reefl_edge.data.formats.arrays import read_images
from reefl_edge.data.formats.folder import images_in
from reefl_edge.data.images import read_image, resize
from reefl_edge.errors import InputError

_ARRAY_SUFFIXES = (".npy", ".npz")


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """An input that could not be read, and why."""

    input: str
    error: str


# Where an image comes from, and its pixels, (1, edge, edge, 3).
Image = tuple[str, NDArray[np.uint8]]
# Reads an image, in any thread.
Reading = Callable[[], Image | Unreadable]


def files_in(inputs: Iterable[str | Path]) -> list[Path | Unreadable]:
    """Return the files that are given, and those of the folders that are, in order."""
    return [file for given in inputs for file in _files(Path(given))]


def readings_of(file: Path | Unreadable, edge: int) -> Sequence[Reading]:
    """Return what reads each image of a file and brings it to size.

    An array is read at once, as it alone tells how many images it holds.
    """
    if isinstance(file, Unreadable):
        return [lambda: file]
    if not is_array(file):
        return [partial(_read, file, edge)]
    try:
        array = read_images(file)
    except (InputError, OSError) as error:
        refused = _unreadable(file, error)
        return [lambda: refused]
    if not len(array):
        empty = Unreadable(input=str(file), error="no images in it")
        return [lambda: empty]
    return [partial(_resized, f"{file}[{index}]", image, edge) for index, image in enumerate(array)]


def is_array(file: Path | Unreadable) -> bool:
    """Tell whether a file is an array, which may hold any number of images."""
    return isinstance(file, Path) and file.suffix.lower() in _ARRAY_SUFFIXES


def _files(given: Path) -> Sequence[Path | Unreadable]:
    if not given.is_dir():
        return [given]
    try:
        images = images_in(given)
    except OSError as error:
        return [_unreadable(given, error)]
    return images or [Unreadable(input=str(given), error=f"no images in {given}")]


def _read(file: Path, edge: int) -> Image | Unreadable:
    try:
        return str(file), read_image(file, image_size=edge)
    except (InputError, OSError) as error:
        return _unreadable(file, error)


def _resized(name: str, image: NDArray[np.uint8], edge: int) -> Image:
    return name, resize(image[None], edge)


def _unreadable(path: Path, error: InputError | OSError) -> Unreadable:
    said = f"{path}: {str(error.strerror).lower()}" if isinstance(error, OSError) else str(error)
    return Unreadable(input=str(path), error=said)

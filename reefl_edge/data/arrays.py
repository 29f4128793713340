"""How is a dataset read from an .npz file?

Two arrays: ``images``, uint8, (N, H, W, 3) or (N, H, W); ``labels``, integers, (N,). Optional:
``class_names``, strings, (C,).
"""

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reefl_edge.data.base import ArrayDataset
from reefl_edge.data.images import as_rgb
from reefl_edge.errors import InputError

# What numpy and zipfile let through when bytes of a file are missing or wrong; zipfile means by
# RuntimeError an entry that claims to be encrypted or packed in an unknown way.
_DAMAGED = (ValueError, EOFError, KeyError, OSError, RuntimeError, zipfile.BadZipFile, zlib.error)


def read_npz(path: Path, *, image_size: int, class_names: tuple[str, ...]) -> ArrayDataset:
    """Read a labelled dataset.

    Args:
        path: The .npz file.
        image_size: Edge in pixels of the images given out.
        class_names: The model's class names; the file's own win.

    Raises:
        InputError: The file is damaged, lacks an array, or a label is outside the classes.
    """
    arrays = read_arrays(path)
    for name in ("images", "labels"):
        if name not in arrays:
            raise InputError(f"{path} has no array {name!r}, only {', '.join(sorted(arrays))}")
    labels = arrays["labels"]
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        raise InputError(f"{path}: labels must be integers (N,), got {labels.dtype} {labels.shape}")
    if not len(labels):
        raise InputError(f"{path} holds no examples")
    if "class_names" in arrays:
        class_names = tuple(str(name) for name in arrays["class_names"])
    try:
        return ArrayDataset(
            as_rgb(arrays["images"]), labels.astype(np.int64), class_names, image_size
        )
    except ValueError as error:
        raise InputError(f"{path}: {error}") from error


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Read the arrays of an .npy (as ``images``) or .npz file, without unpickling anything.

    Raises:
        InputError: The file is damaged or holds Python objects.
    """
    with path.open("rb") as file:
        try:
            loaded = np.load(file, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                return {"images": loaded}
            return {name: loaded[name] for name in loaded.files}
        except _DAMAGED as error:
            raise InputError(f"{path}: not a readable .npy or .npz file: {error}") from error


def read_images(path: Path) -> NDArray[np.uint8]:
    """Read the images of an .npy or .npz file, labelled or not, as RGB (N, H, W, 3).

    A lone colour image (H, W, 3) counts as one of a batch.

    Raises:
        InputError: The file is missing or damaged, or holds no 8-bit images.
    """
    arrays = read_arrays(path)
    if "images" not in arrays:
        raise InputError(f"{path} has no array 'images', only {', '.join(sorted(arrays))}")
    images = arrays["images"]
    if images.ndim == 3 and images.shape[-1] == 3:
        images = images[None]
    try:
        return as_rgb(images)
    except ValueError as error:
        raise InputError(f"{path}: {error}") from error

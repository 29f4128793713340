"""How is a dataset read from an .npz file?

Two arrays: ``images``, uint8, (N, H, W, 3) or (N, H, W); ``labels``, integers, (N,). Optional:
``writer``, ``speaker`` or ``groups``, who made each example, (N,); ``class_names``, strings, (C,).
A file of several splits has all but the last once per split: ``train_images``, ``train_labels``.
A file of sounds has ``audio`` instead (see ``audio_pack.py``).
"""

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reefl_edge.data.audio_pack import audio_dataset
from reefl_edge.data.base import ArrayDataset, Dataset, Groups, Labels
from reefl_edge.data.images import as_rgb
from reefl_edge.errors import InputError

GROUP_NAMES = ("groups", "writer", "speaker")

# What numpy and zipfile let through when bytes of a file are missing or wrong; zipfile means by
# RuntimeError an entry that claims to be encrypted or packed in an unknown way.
_DAMAGED = (ValueError, EOFError, KeyError, OSError, RuntimeError, zipfile.BadZipFile, zlib.error)


def read_npz(
    path: Path, *, image_size: int, class_names: tuple[str, ...], split: str | None = None
) -> Dataset:
    """Read a labelled dataset.

    Args:
        path: The .npz file.
        image_size: Edge in pixels of the images given out.
        class_names: The model's class names; the file's own win.
        split: Which split, of a file that has several.

    Raises:
        InputError: The file is damaged, lacks an array, or a label is outside the classes.
    """
    arrays = read_arrays(path)
    if "class_names" in arrays:
        class_names = tuple(str(name) for name in arrays["class_names"])
    try:
        if "audio" in arrays:
            return audio_dataset(
                arrays, split=split, image_size=image_size, class_names=class_names
            )
        chosen = _of_split(arrays, split)
        labels = as_labels(chosen["labels"])
        groups = groups_in(chosen)
        return ArrayDataset(as_rgb(chosen["images"]), labels, class_names, image_size, groups)
    except ValueError as error:
        raise InputError(f"{path}: {error}") from error


def as_labels(labels: NDArray[Any]) -> Labels:
    """Return labels (N,) of any integer type as int64.

    Raises:
        ValueError: They are not integers (N,), or there are none.
    """
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"labels must be integers (N,), got {labels.dtype} {labels.shape}")
    if not len(labels):
        raise ValueError("it holds no examples")
    return labels.astype(np.int64)


def groups_in(arrays: dict[str, NDArray[Any]]) -> Groups | None:
    """Return who made each example, if one of the arrays says so."""
    return next((arrays[name] for name in GROUP_NAMES if name in arrays), None)


def _of_split(arrays: dict[str, NDArray[Any]], split: str | None) -> dict[str, NDArray[Any]]:
    """Return the arrays of one split, under their names without the split's."""
    prefix = "" if split is None else f"{split}_"
    splits = sorted(name.removesuffix("_images") for name in arrays if name.endswith("_images"))
    if splits and f"{prefix}images" not in arrays:
        raise ValueError(
            f"write the split after the name, as #{splits[-1]}; it has {', '.join(splits)}"
        )
    for name in (f"{prefix}images", f"{prefix}labels"):
        if name not in arrays:
            raise ValueError(f"it has no array {name!r}, only {', '.join(sorted(arrays))}")
    return {
        name.removeprefix(prefix): array
        for name, array in arrays.items()
        if name.startswith(prefix)
    }


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

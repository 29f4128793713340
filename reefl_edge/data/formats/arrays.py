"""How is a dataset read from an .npz file?

Two arrays: ``images``, uint8 or uint16, (N, H, W, 3) or (N, H, W); ``labels``, integers, (N,).
Optional: ``writer``, ``speaker`` or ``groups``, who made each example, (N,); ``class_names``,
text, (C,). A file of several splits has all but the last once per split: ``train_images``,
``train_labels``. A file of sounds has ``audio`` instead (see ``audio_pack.py``).
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reefl_edge.array_files.npz import Array, as_texts, read_array_file
from reefl_edge.data.dataset import ArrayDataset, Dataset, Groups, as_labels
from reefl_edge.data.formats.audio_pack import audio_dataset
from reefl_edge.data.images import as_rgb
from reefl_edge.errors import InputError
from reefl_edge.names import numbered_names
from reefl_edge.sizes import MAX_CLASSES

GROUP_NAMES = ("groups", "writer", "speaker")


def read_npz(
    path: Path, *, image_size: int, class_names: tuple[str, ...], split: str | None = None
) -> Dataset:
    """Read a labelled dataset.

    Args:
        path: The .npz file.
        image_size: Edge in pixels of the images given out.
        class_names: What the classes are called if the file does not say; empty for their numbers.
        split: Which split, of a file that has several.

    Raises:
        InputError: The file is damaged, lacks an array, or a label is outside the classes.
    """
    arrays = read_array_file(path, lone="images")
    try:
        if "class_names" in arrays:
            class_names = as_texts(arrays["class_names"], "class_names")
        class_names = class_names or _numbers_of(arrays)
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


def _numbers_of(arrays: Mapping[str, Array]) -> tuple[str, ...]:
    """Return the numbers of the classes, up to the highest label of any split."""
    highest = max(
        (
            int(array.max(initial=0))
            for name, array in arrays.items()
            if name.endswith("labels") and array.dtype.kind in "iu"
        ),
        default=0,
    )
    return numbered_names(min(highest + 1, MAX_CLASSES))


def groups_in(arrays: Mapping[str, Array]) -> Groups | None:
    """Return who made each example, if one of the arrays says so."""
    return next((arrays[name] for name in GROUP_NAMES if name in arrays), None)


def _of_split(arrays: Mapping[str, Array], split: str | None) -> dict[str, Array]:
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


def read_images(path: Path) -> NDArray[np.uint8]:
    """Read the images of an .npy or .npz file, labelled or not, as RGB (N, H, W, 3).

    Raises:
        InputError: The file is missing or damaged, or holds no images of 8 or 16 bits.
    """
    arrays = read_array_file(path, lone="images")
    if "images" not in arrays:
        raise InputError(f"{path} has no array 'images', only {', '.join(sorted(arrays))}")
    return images_of(arrays["images"], path)


def images_of(array: Array, path: Path) -> NDArray[np.uint8]:
    """Return an array of a file as RGB (N, H, W, 3).

    A lone colour image (H, W, 3) counts as one of a batch.

    Raises:
        InputError: It is of another shape or type.
    """
    try:
        return as_rgb(array[None] if array.ndim == 3 and array.shape[-1] == 3 else array)
    except ValueError as error:
        raise InputError(f"{path}: {error}") from error

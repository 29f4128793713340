"""How is FEMNIST read as LEAF writes it: JSON files in which every writer has a name?

A split is a folder of files. Each file holds ``user_data``: by writer, ``x``, rows of 784 grey
levels from 0 (black) to 1 (white), and ``y``, numbers of classes: digits, then capitals, then small
letters. Strokes are dark on white.

Source: LEAF, Caldas et al. 2019, data/femnist.
"""

import json
import string
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from reefl_edge.data.dataset import ArrayDataset, Images, Labels
from reefl_edge.data.formats.folder import has_images
from reefl_edge.data.formats.listing import visible_folders
from reefl_edge.data.images import as_rgb
from reefl_edge.errors import InputError
from reefl_edge.files import regular_file

CLASS_NAMES = (*string.digits, *string.ascii_uppercase, *string.ascii_lowercase)
_EDGE = 28


def leaf_splits(folder: Path) -> list[str]:
    """Return the splits of a LEAF folder: its visible sub-folders that hold JSON files."""
    return [each.name for each in visible_folders(folder) if any(each.glob("*.json"))]


def is_leaf(folder: Path) -> bool:
    """Say whether a folder is a split of LEAF, or holds splits.

    Among images, JSON files are somebody's notes.
    """
    if any(has_images(each) for each in (folder, *visible_folders(folder))):
        return False
    return bool(leaf_splits(folder)) or any(folder.glob("*.json"))


def read_leaf(folder: Path, *, image_size: int) -> ArrayDataset:
    """Read a split of FEMNIST; the writers' names are the groups.

    Args:
        folder: The folder with the split's JSON files.
        image_size: Edge in pixels of the images given out.

    Raises:
        InputError: There is no JSON file, or one is damaged or not FEMNIST.
    """
    parts = [part for path in sorted(folder.glob("*.json")) for part in _read_writers(path)]
    if not sum(len(labels) for _, _, labels in parts):
        raise InputError(f"{folder} holds no examples")
    writers = [np.full(len(labels), writer) for writer, _, labels in parts]
    try:
        return ArrayDataset(
            as_rgb(np.concatenate([images for _, images, _ in parts])),
            np.concatenate([labels for _, _, labels in parts]),
            CLASS_NAMES,
            image_size,
            np.concatenate(writers),
        )
    except ValueError as error:
        raise InputError(f"{folder}: {error}") from error


def _read_writers(path: Path) -> Iterator[tuple[str, Images, Labels]]:
    """Give each writer's name, images (N, 28, 28) and labels (N,)."""
    try:
        document = json.loads(regular_file(path).read_bytes())
        for writer, examples in document["user_data"].items():
            yield writer, _images(examples["x"]), _labels(examples["y"], len(examples["x"]))
    except KeyError as error:
        raise InputError(f"{path} is not a LEAF file: it lacks {error}") from error
    except (AttributeError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise InputError(f"{path} is not a LEAF file of FEMNIST: {error}") from error


def _images(rows: object) -> Images:
    levels = np.array(rows, np.float64)
    if len(levels) and levels.shape[1:] != (_EDGE * _EDGE,):
        raise ValueError(f"images must be rows of {_EDGE * _EDGE} grey levels, got {levels.shape}")
    levels = levels.reshape(-1, _EDGE, _EDGE)
    if levels.size and not 0 <= levels.min() <= levels.max() <= 1:  # also refuses NaN
        raise ValueError(f"grey levels run from {levels.min()} to {levels.max()}, not from 0 to 1")
    return np.round(levels * 255).astype(np.uint8)


def _labels(values: object, count: int) -> Labels:
    labels = np.array(values)
    if not count:
        return np.zeros(0, np.int64)
    if labels.shape != (count,) or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"labels must be {count} integers, got {labels.dtype} {labels.shape}")
    return labels.astype(np.int64)

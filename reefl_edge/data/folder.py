"""How is a dataset read from a folder with one sub-folder of images per class?"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reefl_edge.data.base import Images, Labels
from reefl_edge.data.images import IMAGE_SUFFIXES, decode, resize
from reefl_edge.errors import InputError


@dataclass(frozen=True, slots=True, eq=False)
class FolderDataset:
    """Labelled image files, decoded batch by batch."""

    paths: tuple[Path, ...]
    labels: Labels
    class_names: tuple[str, ...]
    image_size: int

    def images(self, indices: NDArray[np.int64]) -> Images:
        """Return the images at ``indices``, (B, image_size, image_size, 3)."""
        return np.concatenate(
            [resize(decode(self.paths[index])[None], self.image_size) for index in indices]
        )


def read_folder(folder: Path, *, image_size: int, class_names: tuple[str, ...]) -> FolderDataset:
    """Find the images below ``folder``; the sub-folder's name is the class.

    Args:
        folder: The folder with one sub-folder per class.
        image_size: Edge in pixels of the images given out.
        class_names: The model's class names; every sub-folder must be one of them.

    Raises:
        InputError: A sub-folder names no class, or no image is found.
    """
    paths: list[Path] = []
    labels: list[int] = []
    for class_folder in sorted(path for path in folder.iterdir() if path.is_dir()):
        if class_folder.name not in class_names:
            raise InputError(f"{class_folder} is named like none of the model's classes")
        images = images_in(class_folder)
        paths += images
        labels += [class_names.index(class_folder.name)] * len(images)
    if not paths:
        raise InputError(f"{folder} has no images in sub-folders named by class")
    return FolderDataset(tuple(paths), np.array(labels, np.int64), class_names, image_size)


def images_in(folder: Path) -> list[Path]:
    """Return the image files directly in ``folder``, sorted."""
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)

"""How is a dataset read from a folder with one sub-folder of images per class?"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from reefl_edge.data.base import Groups, Images, Indices, Labels
from reefl_edge.data.images import IMAGE_SUFFIXES, decode, resize
from reefl_edge.errors import InputError


@dataclass(frozen=True, slots=True, eq=False)
class FolderDataset:
    """Labelled image files, decoded batch by batch."""

    paths: tuple[Path, ...]
    labels: Labels
    class_names: tuple[str, ...]
    image_size: int

    @property
    def groups(self) -> Groups | None:
        """None: a folder does not say who made an image."""
        return None

    def images(self, indices: Indices) -> Images:
        """Return the images at ``indices``, (B, image_size, image_size, 3)."""
        return np.concatenate(
            [resize(image[None], self.image_size) for image in self.originals(indices)]
        )

    def originals(self, indices: Indices) -> Sequence[Images]:
        """Return the images at ``indices`` as they are stored, each (H, W, 3)."""
        return [decode(self.paths[index]) for index in indices]


def read_folder(folder: Path, *, image_size: int, class_names: tuple[str, ...]) -> FolderDataset:
    """Find the images below ``folder``; the sub-folder's name is the class.

    Args:
        folder: The folder with one sub-folder per class.
        image_size: Edge in pixels of the images given out.
        class_names: The model's class names; every sub-folder must be one of them.

    Raises:
        InputError: A sub-folder names no class, or no image is found.
    """
    class_folders = [path for path in sorted(folder.iterdir()) if path.is_dir()]
    class_names = classes_of(class_folders, class_names)
    paths: list[Path] = []
    labels: list[int] = []
    for class_folder in class_folders:
        images = images_in(class_folder)
        paths += images
        labels += [class_names.index(class_folder.name)] * len(images)
    if not paths:
        raise InputError(f"{folder} has no images in sub-folders named by class")
    return FolderDataset(tuple(paths), np.array(labels, np.int64), class_names, image_size)


def classes_of(class_folders: Sequence[Path], class_names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the classes that a dataset's folders are named by.

    The model's own names count. A model without names (its classes are called by their numbers)
    takes those of the folders, in their order, if there are as many.

    Raises:
        InputError: A folder is named like none of the classes.
    """
    names = tuple(path.name for path in class_folders)
    unknown = [path for path in class_folders if path.name not in class_names]
    numbers = tuple(str(index) for index in range(len(class_names)))
    if unknown and class_names == numbers and len(names) == len(numbers):
        return names
    if unknown:
        raise InputError(f"{unknown[0]} is named like none of the model's classes")
    return class_names


def images_in(folder: Path) -> list[Path]:
    """Return the image files directly in ``folder``, sorted."""
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)

"""How is a dataset read from a folder with one sub-folder of images per class?"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from reefl_edge.data.dataset import Groups, Images, Indices, Labels
from reefl_edge.data.formats.listing import list_files, visible_folders, warn_of_skipped
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


def read_folder(folder: Path, *, image_size: int) -> FolderDataset:
    """Find the images below ``folder``; the sub-folder's name is the class.

    What is skipped, in a class's folder or beside them, is said once.

    Args:
        folder: The folder with one sub-folder per class.
        image_size: Edge in pixels of the images given out.

    Raises:
        InputError: No image is found.
    """
    class_folders = visible_folders(folder)
    skipped, _ = list_files(folder, IMAGE_SUFFIXES)  # an image without a class
    paths: list[Path] = []
    labels: list[int] = []
    for label, class_folder in enumerate(class_folders):
        images, others = list_files(class_folder, IMAGE_SUFFIXES)
        paths += images
        labels += [label] * len(images)
        skipped += others
    warn_of_skipped(folder, skipped, num_read=len(paths), kind="images of a class")
    if not paths:
        raise InputError(f"{folder} has no images in sub-folders named by class")
    names = tuple(path.name for path in class_folders)
    return FolderDataset(tuple(paths), np.array(labels, np.int64), names, image_size)


def has_images(folder: Path) -> bool:
    """Say whether image files are directly in ``folder``."""
    return bool(list_files(folder, IMAGE_SUFFIXES)[0])


def images_in(folder: Path) -> list[Path]:
    """Return the image files directly in ``folder``, sorted; what is skipped is said once."""
    images, others = list_files(folder, IMAGE_SUFFIXES)
    warn_of_skipped(folder, others, num_read=len(images), kind="images")
    return images

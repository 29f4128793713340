"""How are images without labels read, from whatever holds images?

To calibrate and to compare an export, only typical images are needed: a folder of them, an array
file, or a labelled dataset whose labels are left aside.
"""

from pathlib import Path

import numpy as np

from reefl_edge.data.arrays import read_arrays, read_images
from reefl_edge.data.base import Images, Indices, num_examples
from reefl_edge.data.folder import images_in
from reefl_edge.data.images import decode, resize
from reefl_edge.data.sources import read_dataset, split_of
from reefl_edge.errors import InputError


def read_pictures(
    path: Path, *, image_size: int, class_names: tuple[str, ...], limit: int
) -> Images:
    """Read images, evenly picked where there are more than asked for.

    Args:
        path: A folder of image files, an .npy or .npz file, or a dataset as ``read_dataset`` takes
            it.
        image_size: Edge in pixels of the images given out.
        class_names: The model's class names, for a labelled dataset.
        limit: How many at most.

    Returns:
        uint8, (N, image_size, image_size, 3).

    Raises:
        InputError: The path is missing or damaged, or holds no images.
    """
    bare, split = split_of(path)
    if split is None and bare.is_dir() and images_in(bare):
        paths = images_in(bare)
        images = [
            resize(decode(paths[index])[None], image_size)
            for index in _evenly(path, len(paths), limit)
        ]
        return np.concatenate(images)
    if split is None and _is_array_of_images(bare):
        pixels = read_images(bare)
        return resize(pixels[_evenly(path, len(pixels), limit)], image_size)
    if bare.is_dir():  # whatever its classes are called: labels are left aside
        class_names = tuple(sorted(each.name for each in bare.iterdir() if each.is_dir()))
    dataset = read_dataset(path, image_size=image_size, class_names=class_names)
    return dataset.images(_evenly(path, num_examples(dataset), limit))


def _is_array_of_images(path: Path) -> bool:
    return path.suffix in (".npy", ".npz") and path.is_file() and "images" in read_arrays(path)


def _evenly(path: Path, count: int, limit: int) -> Indices:
    """Pick at most ``limit`` of ``count`` examples, spread over all of them."""
    if not count:
        raise InputError(f"{path} holds no images")
    return np.linspace(0, count - 1, min(count, limit)).round().astype(np.int64)

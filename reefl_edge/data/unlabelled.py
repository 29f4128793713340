"""How are images without labels read, from whatever holds images?

To calibrate and to compare an export, only typical images are needed: a folder of them, an array
file, or a labelled dataset whose labels are left aside.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from reefl_edge.array_files.npz import read_array_file
from reefl_edge.data.dataset import Images, Indices, num_examples
from reefl_edge.data.formats.arrays import images_of
from reefl_edge.data.formats.folder import has_images, images_in
from reefl_edge.data.images import read_image, resize
from reefl_edge.data.reading import read_unmapped, split_of
from reefl_edge.errors import InputError


def read_pictures(
    path: Path, *, image_size: int, class_names: tuple[str, ...], limit: int
) -> Images:
    """Read images, evenly picked where there are more than asked for.

    Args:
        path: A folder of image files, an .npy or .npz file, or a dataset as ``read_dataset`` takes
            it; its labels may be anything.
        image_size: Edge in pixels of the images given out.
        class_names: The model's class names, for sounds that bring none.
        limit: How many at most.

    Returns:
        uint8, (N, image_size, image_size, 3).

    Raises:
        InputError: The path is missing or damaged, or holds no images.
    """
    bare, split = split_of(path)
    if bare.is_dir():
        if split is None and has_images(bare):
            return _from_files(path, images_in(bare), image_size=image_size, limit=limit)
    elif bare.suffix in (".npy", ".npz") and bare.is_file():
        name = "images" if split is None else f"{split}_images"
        arrays = read_array_file(bare, lone="images")
        if name in arrays:
            pixels = images_of(arrays[name], bare)
            return resize(pixels[_evenly(path, len(pixels), limit)], image_size)
    dataset = read_unmapped(path, image_size=image_size, class_names=class_names)
    return dataset.images(_evenly(path, num_examples(dataset), limit))


def _from_files(path: Path, files: Sequence[Path], *, image_size: int, limit: int) -> Images:
    chosen = [files[index] for index in _evenly(path, len(files), limit)]
    return np.concatenate([read_image(file, image_size=image_size) for file in chosen])


def _evenly(path: Path, count: int, limit: int) -> Indices:
    """Pick at most ``limit`` of ``count`` examples, spread over all of them."""
    if not count:
        raise InputError(f"{path} holds no images")
    return np.linspace(0, count - 1, min(count, limit)).round().astype(np.int64)

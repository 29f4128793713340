"""Where does a dataset named on the command line come from: a file or a folder?"""

from pathlib import Path

from reefl_edge.data.arrays import read_npz
from reefl_edge.data.base import Dataset
from reefl_edge.data.folder import read_folder
from reefl_edge.errors import InputError


def read_dataset(path: Path, *, image_size: int, class_names: tuple[str, ...]) -> Dataset:
    """Read a labelled dataset from an .npz file or a folder with one sub-folder per class.

    Args:
        path: The file or folder.
        image_size: Edge in pixels of the images given out.
        class_names: The model's class names, in the order of its logits.

    Raises:
        InputError: The path is missing, damaged, or does not fit the classes.
    """
    if path.is_dir():
        return read_folder(path, image_size=image_size, class_names=class_names)
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    return read_npz(path, image_size=image_size, class_names=class_names)

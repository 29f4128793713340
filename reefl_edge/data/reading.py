"""Where does a dataset named on the command line come from: a file or a folder, which split?

A name is a path, followed by ``#`` and a split where the data has several: ``cifar100.npz#train``.
"""

from collections.abc import Sequence
from pathlib import Path

from reefl_edge.data.classes import in_model_order
from reefl_edge.data.dataset import Dataset
from reefl_edge.data.formats.arrays import read_npz
from reefl_edge.data.formats.cifar import find_cifar, read_cifar
from reefl_edge.data.formats.folder import read_folder
from reefl_edge.data.formats.leaf import is_leaf, leaf_splits, read_leaf
from reefl_edge.data.formats.speech import is_speech, read_speech
from reefl_edge.errors import InputError

_ARCHIVE_SUFFIXES = (".tar.gz", ".tgz", ".tar")


def read_dataset(
    path: str | Path, *, image_size: int, class_names: tuple[str, ...] = ()
) -> Dataset:
    """Read a labelled dataset, whichever of the known formats it has.

    Args:
        path: An .npz file, CIFAR's archive, or a folder: CIFAR's, LEAF's, Speech Commands', or one
            sub-folder of images per class. A split may follow its name after ``#``.
        image_size: Edge in pixels of the images given out.
        class_names: The model's class names, in the order of its logits: the labels are brought
            into it (see ``classes.py``). Empty: the data's own names and order stay; classes that
            have no names are called by their numbers, up to the highest label.

    Raises:
        InputError: The path is missing, damaged, or does not fit the classes.
    """
    dataset = read_unmapped(Path(path), image_size=image_size, class_names=class_names)
    if not class_names:
        return dataset
    try:
        return in_model_order(dataset, class_names)
    except ValueError as error:
        raise InputError(f"{path}: {error}") from error


def read_unmapped(path: Path, *, image_size: int, class_names: tuple[str, ...]) -> Dataset:
    """Read a labelled dataset under its own class names, in their order.

    Args:
        path: As ``read_dataset`` takes it.
        image_size: Edge in pixels of the images given out.
        class_names: What the classes of data that has no names are called; empty for numbers.

    Raises:
        InputError: The path is missing or damaged.
    """
    path, split = split_of(path)
    if path.is_dir():
        return _read_folder(path, split, image_size=image_size)
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    if path.name.endswith(_ARCHIVE_SUFFIXES):
        return read_cifar(path, split=_named(path, split, ("test", "train")), image_size=image_size)
    return read_npz(path, split=split, image_size=image_size, class_names=class_names)


def split_of(path: Path) -> tuple[Path, str | None]:
    """Take the split off a path.

    >>> split_of(Path("cifar100.npz#train"))
    (PosixPath('cifar100.npz'), 'train')
    """
    whole, mark, split = path.name.rpartition("#")
    if not mark or path.exists():
        return path, None
    return (path.with_name(whole) if whole else path.parent), split


def _read_folder(folder: Path, split: str | None, *, image_size: int) -> Dataset:
    if find_cifar(folder) is not None:
        named = _named(folder, split, ("test", "train"))
        return read_cifar(folder, split=named, image_size=image_size)
    if is_speech(folder):
        return read_speech(folder, split=split, image_size=image_size)
    if is_leaf(folder):
        splits = leaf_splits(folder)
        part = folder / _named(folder, split, splits) if splits else _whole(folder, split)
        return read_leaf(part, image_size=image_size)
    return read_folder(_whole(folder, split), image_size=image_size)


def _named(path: Path, split: str | None, splits: Sequence[str]) -> str:
    """Return the split, which must be one of those there are."""
    if split is None or split not in splits:
        asked = "" if split is None else f" no split {split!r}, only"
        raise InputError(
            f"{path} has{asked} the splits {', '.join(splits)}; write {path}#{splits[-1]}"
        )
    return split


def _whole(folder: Path, split: str | None) -> Path:
    """Return a folder that has no splits, unless one was asked for."""
    if split is not None:
        raise InputError(f"{folder} has no splits; give the folder of {split!r} itself")
    return folder

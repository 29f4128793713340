"""How are CIFAR-10 and CIFAR-100 read as their authors publish them?

The python version (pickles, read without executing any) or the binary version, from the archive or
the folder it extracts to. Of an archive, only the members that are needed are kept, by their exact
names, in memory; it is read to its end all the same, where gzip's checksum stands.

Source: https://www.cs.toronto.edu/~kriz/cifar.html. An image is 3,072 bytes: its red plane, then
green, then blue, 32 rows of 32 each.
"""

import gzip
import io
import struct
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from reefl_edge.array_files.restricted_pickle import PickledArray, load_plain
from reefl_edge.data.dataset import ArrayDataset, Images, Labels
from reefl_edge.errors import InputError
from reefl_edge.files import regular_file

_EDGE = 32
_IMAGE_BYTES = 3 * _EDGE * _EDGE
# More than CIFAR-100's largest file, the pickle of 50,000 training images, 148 MiB.
_LARGEST_FILE_BYTES = 2**28
# More than any of the archives, 178 MiB; gzip can pack a thousand times as much as it is large.
_LARGEST_ARCHIVE_BYTES = 2**29
_CHUNK_BYTES = 2**20
_GZIP_MAGIC = b"\x1f\x8b"
_DAMAGED_ARCHIVE = (
    tarfile.TarError, EOFError, LookupError, MemoryError, OSError, OverflowError, RecursionError,
    ValueError, struct.error, zlib.error,
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where a published version keeps what.

    Attributes:
        folder: The folder inside the archive.
        train: The files of training images.
        test: The files of test images.
        class_file: The file of the class names.
        label_key: Of a pickle: which entry holds the labels. None for the binary version.
        names_key: Of a pickle: which entry holds the class names.
        label_bytes: Of the binary version: bytes before an image, the last of which is its label.
    """

    folder: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    class_file: str
    label_key: bytes | None = None
    names_key: bytes = b""
    label_bytes: int = 0

    def files(self, split: str) -> tuple[str, ...]:
        """Return the files of images of a split.

        Raises:
            ValueError: There is no such split.
        """
        match split:
            case "train":
                return self.train
            case "test":
                return self.test
        raise ValueError(f"CIFAR has no split {split!r}, only train and test")


LAYOUTS = (
    Layout(
        folder="cifar-10-batches-py",
        train=tuple(f"data_batch_{number}" for number in range(1, 6)),
        test=("test_batch",),
        class_file="batches.meta",
        label_key=b"labels",
        names_key=b"label_names",
    ),
    Layout(
        folder="cifar-100-python",
        train=("train",),
        test=("test",),
        class_file="meta",
        label_key=b"fine_labels",
        names_key=b"fine_label_names",
    ),
    Layout(
        folder="cifar-10-batches-bin",
        train=tuple(f"data_batch_{number}.bin" for number in range(1, 6)),
        test=("test_batch.bin",),
        class_file="batches.meta.txt",
        label_bytes=1,
    ),
    Layout(
        folder="cifar-100-binary",
        train=("train.bin",),
        test=("test.bin",),
        class_file="fine_label_names.txt",
        label_bytes=2,
    ),
)


def find_cifar(folder: Path) -> tuple[Path, Layout] | None:
    """Return where in a folder CIFAR lies, and in which layout; None if it does not."""
    for layout in LAYOUTS:
        for root in (folder, folder / layout.folder):
            if (root / layout.class_file).is_file() and (
                (root / layout.train[0]).is_file() or (root / layout.test[0]).is_file()
            ):
                return root, layout
    return None


def read_cifar(path: Path, *, split: str, image_size: int) -> ArrayDataset:
    """Read a split of CIFAR-10 or CIFAR-100; the labels of the latter are the fine ones.

    Args:
        path: The archive, or the folder it extracts to.
        split: ``train`` or ``test``.
        image_size: Edge in pixels of the images given out.

    Raises:
        InputError: The path holds no CIFAR or is damaged, or there is no such split.
    """
    try:
        layout, files = _files_in_folder(path, split) if path.is_dir() else _members(path, split)
        batches = [_read_batch(files[name], layout, name) for name in layout.files(split)]
        return ArrayDataset(
            np.concatenate([pixels for pixels, _ in batches]),
            np.concatenate([labels for _, labels in batches]),
            _class_names(files[layout.class_file], layout),
            image_size,
        )
    except ValueError as error:
        raise InputError(f"{path}: {error}") from error


def _files_in_folder(path: Path, split: str) -> tuple[Layout, dict[str, bytes]]:
    found = find_cifar(path)
    if found is None:
        raise InputError(f"{path} holds no CIFAR")
    root, layout = found
    names = (layout.class_file, *layout.files(split))
    return layout, {name: _file(root / name) for name in names}


def _file(path: Path) -> bytes:
    if regular_file(path).stat().st_size > _LARGEST_FILE_BYTES:
        raise InputError(f"{path} is larger than any file of CIFAR")
    return path.read_bytes()


def _members(path: Path, split: str) -> tuple[Layout, dict[str, bytes]]:
    """Read what is needed of an archive, and the rest of it for its checksum."""
    regular_file(path)
    wanted = {
        f"{layout.folder}/{name}": (layout, name)
        for layout in LAYOUTS
        for name in (layout.class_file, *layout.files(split))
    }
    found: dict[str, dict[str, bytes]] = {layout.folder: {} for layout in LAYOUTS}
    try:
        with _unpacked(path) as stream:
            with tarfile.open(fileobj=stream, mode="r|") as archive:
                for member in archive:
                    _check_skippable(archive, member)
                    if member.name in wanted and member.isreg():
                        layout, name = wanted[member.name]
                        found[layout.folder].setdefault(name, _content(archive, member))
            while stream.read(_CHUNK_BYTES):
                pass
    except _DAMAGED_ARCHIVE as error:
        raise InputError(f"{path}: not a readable tar archive: {error}") from error
    for layout in LAYOUTS:
        if found[layout.folder].keys() >= {layout.class_file, *layout.files(split)}:
            return layout, found[layout.folder]
    raise InputError(f"{path} is not a complete archive of CIFAR-10 or CIFAR-100")


class _Bounded(io.RawIOBase):
    """A stream that ends in an error where it gives more than an archive of CIFAR can hold."""

    def __init__(self, stream: io.BufferedIOBase) -> None:
        self._stream = stream
        self._left = _LARGEST_ARCHIVE_BYTES

    def read(self, size: int = -1, /) -> bytes:
        """Return at most ``size`` bytes.

        Raises:
            ValueError: There are more than there can be.
        """
        most = self._left + 1
        content = self._stream.read(most if size < 0 else min(size, most))
        self._left -= len(content)
        if self._left < 0:
            raise ValueError(f"it expands to more than {_LARGEST_ARCHIVE_BYTES} bytes")
        return content


@contextmanager
def _unpacked(path: Path) -> Iterator[_Bounded]:
    """Give the content of a tar file, unpacked if gzip packed it."""
    with path.open("rb") as file:
        is_packed = file.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC
        file.seek(0)
        # Tarfile's own reader of packed streams does not look at the checksum.
        yield _Bounded(gzip.GzipFile(fileobj=file) if is_packed else file)


def _check_skippable(archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
    """Refuse a member that declares more than there can be: it is skipped block by block."""
    if archive.offset > _LARGEST_ARCHIVE_BYTES:  # where the next member begins
        raise tarfile.ReadError(f"{member.name} declares more than any archive of CIFAR holds")


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    if file is None or member.size > _LARGEST_FILE_BYTES:
        raise tarfile.ReadError(f"{member.name} is not a file of {member.size} bytes")
    return file.read()


def _read_batch(data: bytes, layout: Layout, name: str) -> tuple[Images, Labels]:
    """Return the images (N, 32, 32, 3) and labels (N,) of a file."""
    if layout.label_key is None:
        planes, labels = _read_records(data, layout.label_bytes, name)
    else:
        planes, labels = _read_pickle(data, layout.label_key, name)
    if not len(labels):
        raise ValueError(f"{name} holds no examples")
    images = planes.reshape(-1, 3, _EDGE, _EDGE).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(images), labels


def _read_records(data: bytes, label_bytes: int, name: str) -> tuple[Images, Labels]:
    """Return the planes (N, 3072) and labels (N,) of a file of the binary version."""
    record_bytes = label_bytes + _IMAGE_BYTES
    if len(data) % record_bytes:
        raise ValueError(f"{name} has {len(data)} bytes, not a multiple of {record_bytes}")
    records = np.frombuffer(data, np.uint8).reshape(-1, record_bytes)
    return records[:, label_bytes:], records[:, label_bytes - 1].astype(np.int64)


def _read_pickle(data: bytes, label_key: bytes, name: str) -> tuple[Images, Labels]:
    """Return the planes (N, 3072) and labels (N,) of a file of the python version."""
    match load_plain(data, name=name):
        case {b"data": PickledArray() as array, **rest} if label_key in rest:
            planes, labels = array.pixels(), _integers(rest[label_key], name)
            if planes.shape != (len(labels), _IMAGE_BYTES):
                raise ValueError(f"{name}: {len(labels)} labels, but images of {planes.shape}")
            return planes, labels
    raise ValueError(f"{name} lacks 'data' or {label_key.decode()!r}")


def _integers(values: object, name: str) -> Labels:
    if not isinstance(values, list) or not all(type(value) is int for value in values):
        raise ValueError(f"{name}: the labels are not a list of integers")
    try:
        return np.array(values, np.int64)
    except OverflowError as error:
        raise ValueError(f"{name}: a label is no class: {error}") from error


def _class_names(data: bytes, layout: Layout) -> tuple[str, ...]:
    if layout.label_key is None:
        return tuple(_texts(line.strip() for line in data.splitlines() if line.strip()))
    match load_plain(data, name=layout.class_file):
        case {**entries} if isinstance(names := entries.get(layout.names_key), list):
            return tuple(_texts(names))
    raise ValueError(f"{layout.class_file} lacks {layout.names_key.decode()!r}")


def _texts(values: Iterable[object]) -> Iterator[str]:
    for value in values:
        if not isinstance(value, bytes | str):
            raise ValueError(f"a class is called by a {type(value).__name__}")
        try:
            yield value.decode() if isinstance(value, bytes) else value
        except UnicodeDecodeError as error:
            raise ValueError(f"the name of a class, {value!r}, is no UTF-8") from error

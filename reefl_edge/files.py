"""How does a file or folder get written whole or not at all, and what is its hash?

Everything is written beside its destination, synced, then renamed: an interrupted or failed write
leaves the old content, or nothing. What is to be read is a regular file (``regular_file``).
"""

import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from reefl_edge.errors import InputError


def regular_file(path: Path) -> Path:
    """Return ``path``, if it is a regular file that can be opened, links followed.

    Every reader of a file that the user names asks here first: opening a FIFO waits for ever.

    Raises:
        InputError: It is missing, a folder, a device or a FIFO, or the system does not let us in.
    """
    try:
        mode = path.stat().st_mode
        if stat.S_ISREG(mode):
            path.open("rb").close()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError(f"{path}: no such file") from error
    except ValueError as error:  # a null byte
        raise InputError(f"{str(path)!r} is no path: {error}") from error
    except OSError as error:
        raise InputError(f"{path}: {str(error.strerror).lower()}") from error
    if stat.S_ISDIR(mode):
        raise InputError(f"{path} is a folder, not a file")
    if not stat.S_ISREG(mode):
        raise InputError(f"{path} is no regular file")
    return path


def sha256_of_file(path: Path) -> str:
    """Return the SHA-256 of a file's content in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_bytes(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path``, whole or not at all.

    Raises:
        OSError: The folder cannot be written to, or the disk is full.
    """
    with replacing_file(path) as partial:
        partial.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    """Write ``content`` to ``path`` in UTF-8, whole or not at all."""
    write_bytes(path, content.encode())


@contextmanager
def replacing_file(path: Path) -> Iterator[Path]:
    """Give a path to write to, which becomes ``path`` when the block ends without an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        _sync(partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def replacing_folder(path: Path, *, marker: str) -> Iterator[Path]:
    """Give a folder to fill, which becomes ``path`` when the block ends without an error.

    Args:
        path: The destination; if it exists it must be empty or hold ``marker``.
        marker: The file by which a folder of this kind is recognised.

    Raises:
        InputError: ``path`` exists and is something else, which must not be overwritten.
    """
    if path.exists() and not _is_replaceable(path, marker):
        raise InputError(f"{path} exists and has no {marker}; choose another output folder")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".partial", dir=path.parent))
    try:
        partial.chmod(0o755)
        yield partial
        for file in sorted(partial.rglob("*")):
            if file.is_file():
                _sync(file)
        _swap(partial, path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _is_replaceable(path: Path, marker: str) -> bool:
    return path.is_dir() and ((path / marker).is_file() or not any(path.iterdir()))


def _swap(partial: Path, path: Path) -> None:
    """Put ``partial`` where ``path`` stands; the old folder goes only once the new one is there."""
    if not path.exists():
        partial.rename(path)
        return
    old = partial.with_suffix(".old")
    path.rename(old)
    try:
        partial.rename(path)
    except BaseException:
        old.rename(path)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def confined(root: Path, relative: str) -> Path:
    """Return ``root / relative``, refusing a path that leads out of ``root``.

    >>> confined(Path("/bundle"), "onnx/segment_0.onnx").as_posix()
    '/bundle/onnx/segment_0.onnx'

    Raises:
        InputError: ``relative`` is absolute or climbs out of ``root``, links followed.
    """
    path = root / relative
    if Path(relative).is_absolute() or not path.resolve().is_relative_to(root.resolve()):
        raise InputError(f"{relative!r} leads out of {root}")
    return path

"""How does a file or folder get written whole or not at all, and what is its hash?

Everything is written beside its destination (``partials``), synced, then renamed: an interrupted or
failed write leaves the old content, or nothing. The files of a folder are synced at its end. What
is to be read is a regular file (``regular_file``); what is to be written can be checked before the
work (``check_output_file``).
"""

import ctypes
import errno
import hashlib
import os
import shutil
import stat
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from reefl_edge.errors import InputError
from reefl_edge.partials import (
    SUFFIX,
    is_partial,
    partial_file,
    partial_folder,
    scratch_folder,
    sweep,
)

# A disk that is full, a quota or a limit that is reached, a disk that fails.
_WRITE_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})


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
def replacing_file(path: Path, *, apart: bool = False) -> Iterator[Path]:
    """Give a path to write to, which becomes ``path`` when the block ends without an error.

    A link stays, and its target is replaced. A device or a FIFO (``/dev/null``) stays, too: what
    was written goes into it.

    Args:
        path: The destination.
        apart: The path to write to is in a folder of its own, which is swept whole: for libraries
            that put files of theirs beside what they write.

    Raises:
        OSError: The folder cannot be written to, or the disk is full; it names ``path``.
    """
    with _naming(path):
        if _is_stream(path):
            with scratch_folder() as folder:
                yield folder / "content"
                _pour(folder / "content", path)
            return
        path = _target(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep(path)
        with _partial_apart(path) if apart else partial_file(path) as partial:
            yield partial
            is_final = not is_partial(path.parent)  # else the end of the folder sees to it
            if is_final:
                _sync(partial)
            if path.exists():
                partial.chmod(stat.S_IMODE(path.stat().st_mode))
            partial.replace(path)
            if is_final:
                _sync(path.parent)


@contextmanager
def synced_meanwhile(path: Path) -> Iterator[None]:
    """Bring a file to the disk while the block runs: the end of its folder waits for less."""
    with _naming(path), ThreadPoolExecutor(1, thread_name_prefix="syncing") as pool:
        syncing = pool.submit(_sync, path)
        yield
        syncing.result()


@contextmanager
def _partial_apart(path: Path) -> Iterator[Path]:
    with partial_folder(path) as folder:
        yield folder / path.name


@contextmanager
def replacing_folder(path: Path, *, check: Callable[[Path], object]) -> Iterator[Path]:
    """Give a folder to fill, which becomes ``path`` when the block ends without an error.

    Args:
        path: The destination; of a link, its target.
        check: Called with the destination before the work and once more before what stands there is
            replaced: it raises if that must not be.

    Raises:
        OSError: The folder cannot be written to, or the disk is full; it names ``path``.
    """
    with _naming(path):
        path = _target(path)
        check(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep(path)
        with partial_folder(path) as partial:
            yield partial
            for each in (*sorted(partial.rglob("*")), partial):
                _sync(each)
            check(path)
            _put(partial, path)
            _sync(path.parent)


def check_output_file(path: Path, *, inputs: Iterable[Path] = ()) -> None:
    """Refuse a file that could not be written at the end of the work, before the work.

    Args:
        path: The file; it is not touched.
        inputs: Files and folders that the work reads.

    Raises:
        ValueError: It names no file, is a folder, or is one of the inputs, or a file in one.
        OSError: The system does not let us write there.
    """
    _check_links(path)
    if not path.name or path.is_dir():
        raise ValueError(f"{path} is a folder; name a file")
    if _is_stream(path):
        return
    target = _target(path)
    for each in inputs:
        # A file that is new beside the images of a folder overwrites nothing.
        if target.exists() and _is_within(target, each):
            raise ValueError(f"{path} is an input, too ({each}); choose another output")
    _check_writable(target)


def check_output_folder(path: Path, *, inputs: Iterable[Path] = ()) -> None:
    """Refuse a folder that could not be put there at the end of the work, before the work.

    Args:
        path: The folder; it is not touched. Whether it may be replaced is not looked at.
        inputs: Files and folders that the work reads.

    Raises:
        ValueError: It names no folder, is a file, or is one of the inputs, or holds one.
        OSError: The system does not let us write there.
    """
    _check_links(path)
    if path.exists() and not path.is_dir():
        raise ValueError(f"{path} is a file; name a folder")
    target = _target(path)
    if not target.name or target == Path.cwd():
        raise ValueError(f"{path} is a folder that cannot be replaced; name one inside it")
    for each in inputs:
        if _is_within(each, target):
            raise ValueError(f"{path} is or holds an input ({each}); choose another output")
    _check_writable(target)


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


def _target(path: Path) -> Path:
    """Return where a path leads, links followed; it need not exist."""
    return Path(os.path.realpath(path))


def _is_within(path: Path, folder: Path) -> bool:
    """Tell whether a path is another, or lies below it, links followed."""
    return _target(path).is_relative_to(_target(folder))


def _check_links(path: Path) -> None:
    """Refuse links that lead nowhere but to each other, which look like nothing at all."""
    with suppress(FileNotFoundError, NotADirectoryError):
        path.stat()


def _is_stream(path: Path) -> bool:
    """Tell whether a path is something to write into, which must not be replaced."""
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return False
    if stat.S_ISBLK(mode) or stat.S_ISSOCK(mode):
        raise OSError(errno.EINVAL, "is no file to write to", str(path))
    return stat.S_ISCHR(mode) or stat.S_ISFIFO(mode)


def _pour(source: Path, stream: Path) -> None:
    with source.open("rb") as content, stream.open("wb") as sink:
        shutil.copyfileobj(content, sink)


def _check_writable(target: Path) -> None:
    """Write and remove an empty file where ``target``, or the first folder on its way, will lie."""
    folder = target.parent
    while not folder.exists():
        folder = folder.parent
    with _naming(target):
        sweep(folder / target.name)  # of a process that was killed right here
        with partial_file(folder / target.name):
            pass


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Let an error of writing name ``path``, not its partial; that of a full disk names nothing."""
    try:
        yield
    except OSError as error:
        is_nameless = error.filename is None and error.errno in _WRITE_ERRORS
        if is_nameless or str(error.filename).endswith(SUFFIX):
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def _put(partial: Path, path: Path) -> None:
    """Put a folder where another may stand, in one step where the system can."""
    if not path.exists() or not any(path.iterdir()):
        partial.rename(path)
    elif not _exchange(partial, path):
        old = partial.with_suffix(".old")
        path.rename(old)
        try:
            partial.rename(path)
        except BaseException:
            old.rename(path)
            raise
        shutil.rmtree(old, ignore_errors=True)


def _exchange(first: Path, second: Path) -> bool:
    """Let two paths change places in one step; False where the system has none (Linux has).

    Source: rename(2), renameat2 with RENAME_EXCHANGE.
    """
    rename = getattr(ctypes.CDLL(None), "renameat2", None) if sys.platform == "linux" else None
    if rename is None:
        return False
    relative_to_here, exchange = -100, 2
    done = rename(
        relative_to_here, os.fsencode(first), relative_to_here, os.fsencode(second), exchange
    )
    return bool(done == 0)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""What is being written at the moment, by whom, and what did a process that was killed leave?

A *partial* is a file or folder that is not finished. It lies beside its destination, as
``.NAME.RANDOM.partial``, and whoever writes it holds a lock on it, which the system takes away when
the process ends, however it ends: a partial that nobody holds is nobody's, and may be swept.

Where there are no such locks (Windows, some network file systems) nothing is swept.
"""

import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

SUFFIX = ".partial"
_RANDOM = re.compile(r"[0-9a-f]{8}\.partial")
_PARTIAL = re.compile(rf"\..*\.{_RANDOM.pattern}", re.DOTALL)
# The system's limit on a name is 255 bytes.
_NAME_BYTES = 200


@contextmanager
def partial_file(destination: Path) -> Iterator[Path]:
    """Make an empty file beside ``destination``; it goes when the block ends, unless renamed."""
    with _held(destination, _make_file) as partial:
        try:
            yield partial
        finally:
            partial.unlink(missing_ok=True)


@contextmanager
def partial_folder(destination: Path, *, mode: int = 0o777) -> Iterator[Path]:
    """Make an empty folder beside ``destination``; it goes when the block ends, unless renamed.

    Args:
        destination: Need not exist, its parent must.
        mode: Its permissions, less the process's mask.
    """
    with _held(destination, lambda path: path.mkdir(mode)) as partial:
        try:
            yield partial
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def is_partial(folder: Path) -> bool:
    """Tell whether a folder is a partial, or lies in one."""
    return any(_PARTIAL.fullmatch(name) for name in folder.parts)


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Make a folder for what nobody keeps; temporary files of libraries go there, too."""
    base = Path(tempfile.gettempdir()) / "reefl-edge"
    sweep(base)
    with partial_folder(base, mode=0o700) as folder:
        before, tempfile.tempdir = tempfile.tempdir, str(folder)
        try:
            yield folder
        finally:
            tempfile.tempdir = before


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Let one process at a time run the block; the others wait.

    Args:
        path: A file that stands for what is locked; it is made, and stays.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        _lock(descriptor)
        yield
    finally:
        os.close(descriptor)


def sweep(destination: Path) -> None:
    """Remove the partials of ``destination`` that no living process holds, and no others."""
    prefix = _prefix(destination)
    with suppress(OSError):  # no such folder, or not ours to look into
        for path in destination.parent.iterdir():
            if path.name.startswith(prefix) and _RANDOM.fullmatch(path.name[len(prefix) :]):
                _remove_unheld(path)


def _prefix(destination: Path) -> str:
    return f".{os.fsdecode(os.fsencode(destination.name)[:_NAME_BYTES])}."


@contextmanager
def _held(destination: Path, make: Callable[[Path], object]) -> Iterator[Path]:
    while True:
        path = destination.with_name(f"{_prefix(destination)}{secrets.token_hex(4)}{SUFFIX}")
        try:
            make(path)
            descriptor = _open_held(path)
        except BaseException:  # stopped while it was being made, or it could not be
            with suppress(OSError):
                _remove(path)
            raise
        if descriptor is not None:
            break
    try:
        yield path
    finally:
        os.close(descriptor)


def _open_held(path: Path) -> int | None:
    """Hold what was just made; None if it was swept before that."""
    with suppress(FileNotFoundError):
        descriptor = os.open(path, os.O_RDONLY)
        _lock(descriptor)
        if _is_at(descriptor, path):
            return descriptor
        os.close(descriptor)
    return None


def _make_file(path: Path) -> None:
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))


def _is_at(descriptor: int, path: Path) -> bool:
    return os.path.samestat(os.fstat(descriptor), path.lstat())


def _remove_unheld(path: Path) -> None:
    with suppress(OSError):  # gone meanwhile, held, or another user's
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
        try:
            if _lock(descriptor, waits=False):
                _remove(path)
        finally:
            os.close(descriptor)


def _remove(path: Path) -> None:
    with suppress(FileNotFoundError):
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def _lock(descriptor: int, *, waits: bool = True) -> bool:
    """Lock an open file or folder; tell whether it is locked now."""
    if fcntl is None:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if waits else fcntl.LOCK_NB))
    except OSError:  # held by another, or a file system without locks
        return False
    return True

"""Which files of a folder are read, and what is said of the others?

Hidden files need no word, nor what file managers leave behind.
"""

import logging
from collections.abc import Collection, Sequence
from pathlib import Path

_log = logging.getLogger(__name__)

_LEFT_BEHIND = ("desktop.ini", "thumbs.db")
_MOST_NAMED = 3


def list_files(folder: Path, suffixes: Collection[str]) -> tuple[list[Path], list[Path]]:
    """Return what is directly in ``folder``, sorted: the files of these suffixes, and the rest.

    Args:
        folder: The folder.
        suffixes: In small letters, with the dot; the files' may be in capitals.
    """
    files: list[Path] = []
    others: list[Path] = []
    for path in sorted(folder.iterdir()):
        if not _is_hidden(path):
            is_kind = path.suffix.lower() in suffixes and not path.is_dir()
            (files if is_kind else others).append(path)
    return files, others


def visible_folders(folder: Path) -> list[Path]:
    """Return the folders directly in ``folder``, sorted, but for hidden ones."""
    return [path for path in sorted(folder.iterdir()) if path.is_dir() and not _is_hidden(path)]


def warn_of_skipped(folder: Path, skipped: Sequence[Path], *, num_read: int, kind: str) -> None:
    """Say which files below ``folder`` were left aside, if any, for being no ``kind``."""
    if not skipped:
        return
    names = [str(path.relative_to(folder)) + "/" * path.is_dir() for path in skipped]
    more = ", ..." if len(names) > _MOST_NAMED else ""
    _log.warning(
        "%d of %d files in %s are no %s and were skipped: %s",
        len(skipped),
        len(skipped) + num_read,
        folder,
        kind,
        ", ".join(names[:_MOST_NAMED]) + more,
    )


def _is_hidden(path: Path) -> bool:
    return path.name.startswith(".") or path.name.lower() in _LEFT_BEHIND

"""How does a folder become one file, the same bytes every time?

A tar file in the oldest form that every ``tar`` unpacks (ustar; a phone's too), compressed by gzip:
names sorted, no owners, no times.
"""

import gzip
import hashlib
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from reefl_edge.files import sha256_of_file


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """The files of a folder.

    Attributes:
        sha256: Of a line for each file, sorted by path: its SHA-256, two spaces and its path.
        num_files: How many there are.
        size_bytes: Their size, together.
    """

    sha256: str
    num_files: int
    size_bytes: int


def contents_of(folder: Path) -> Contents:
    """Hash and count the files below a folder."""
    files = [path for path in _sorted(folder) if path.is_file()]
    lines = (f"{sha256_of_file(path)}  {_name(folder, path)}\n" for path in files)
    return Contents(
        sha256=hashlib.sha256("".join(lines).encode()).hexdigest(),
        num_files=len(files),
        size_bytes=sum(path.stat().st_size for path in files),
    )


def write_archive(folder: Path, archive: Path) -> None:
    """Pack what is in a folder; the entries are named from there.

    A file is packed with the right to be executed if its owner has it.
    """
    with (
        archive.open("wb") as raw,
        gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=0, compresslevel=6) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as tar,
    ):
        for path in _sorted(folder):
            entry = tarfile.TarInfo(_name(folder, path))
            entry.mode = 0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644
            if path.is_dir():
                entry.type = tarfile.DIRTYPE
                tar.addfile(entry)
            else:
                entry.size = path.stat().st_size
                with path.open("rb") as content:
                    tar.addfile(entry, content)


def _sorted(folder: Path) -> Iterator[Path]:
    yield from sorted(folder.rglob("*"), key=lambda path: _name(folder, path))


def _name(folder: Path, path: Path) -> str:
    return path.relative_to(folder).as_posix()

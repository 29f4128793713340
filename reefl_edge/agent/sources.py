"""Where does an agent get its Python from?"""

import re
from dataclasses import dataclass
from pathlib import Path

# The oldest Python that runs our code.
OLDEST_PYTHON = (3, 11)
_VERSION = re.compile(r"3\.[0-9]{1,2}")


@dataclass(frozen=True, slots=True)
class AptSources:
    """Debian's packages, by this machine's own package sources."""


@dataclass(frozen=True, slots=True)
class RootFolder:
    """The root folder of a Debian system.

    Attributes:
        path: The folder with ``usr`` and ``lib`` in it.
    """

    path: Path


@dataclass(frozen=True, slots=True)
class DevicePython:
    """The Python that the device has; only packages are sent.

    Attributes:
        version: Its version, such as ``3.12``: packages are built for one.
    """

    version: str

    def __post_init__(self) -> None:
        check_python(self.version)


Source = AptSources | RootFolder | DevicePython


def check_python(version: str) -> None:
    """Refuse what is no version of a Python that runs our code.

    Raises:
        ValueError: It is older, or no version such as ``3.12``.
    """
    if not _VERSION.fullmatch(version) or numbers(version) < OLDEST_PYTHON:
        raise ValueError(f"need a Python of 3.11 or newer, such as 3.12, got {version!r}")


def numbers(version: str) -> tuple[int, int]:
    """Return the two numbers of a version.

    >>> numbers("3.12")
    (3, 12)
    """
    major, minor = version.split(".")
    return int(major), int(minor)

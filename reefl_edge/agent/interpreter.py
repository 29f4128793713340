"""Which files of a Debian root are Python, and where do they lie in an agent?

Loader, C library, the libraries that Python and the wheels load, Python, its standard library.
Links are followed inside the root only, and none is left: a link that a phone's file system or a
transfer does not keep would be a missing library.
"""

import fnmatch
import hashlib
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from reefl_edge.agent.arch import NAMES, Arch, check_program
from reefl_edge.agent.pruning import is_needed_of_python
from reefl_edge.agent.sources import OLDEST_PYTHON, numbers
from reefl_edge.errors import InputError
from reefl_edge.files import sha256_of_file

# Where an agent has its Python.
PROGRAM = PurePosixPath("bin/python3")
# By the names under which they are asked for; of libffi, any version.
_LIBRARIES = (
    "libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "librt.so.1", "libutil.so.1",
    "libgcc_s.so.1", "libstdc++.so.6", "libz.so.1", "libexpat.so.1", "libffi.so.?",
)  # fmt: skip
_PYTHON = re.compile(r"python(3\.\d+)")
# As many as Linux follows.
_MAX_LINKS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Interpreter:
    """A Python in a Debian root.

    Attributes:
        version: Its version, such as ``3.11``.
        files: What an agent takes of the root, by where it lies in the agent.
    """

    version: str
    files: Mapping[PurePosixPath, Path]

    def sha256(self) -> str:
        """Return the hash of all its files."""
        digest = hashlib.sha256()
        for place, path in sorted(self.files.items()):
            digest.update(f"{sha256_of_file(path)}  {place}\n".encode())
        return digest.hexdigest()

    def copy_to(self, folder: Path) -> None:
        """Copy its files into an agent's folder."""
        for place, path in self.files.items():
            (folder / place).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, folder / place)


def find_interpreter(root: Path, arch: Arch) -> Interpreter:
    """Find the oldest Python in a Debian root that runs our code.

    Raises:
        InputError: There is none, a part of it is missing, or it is for another machine.
    """
    programs = _inside(root, "usr/bin")
    version = _version(programs)
    program = _inside(root, f"usr/bin/python{version}")
    check_program(program, arch)
    names = NAMES[arch]
    libraries = dict(_library(root, names.triple, name) for name in (names.loader, *_LIBRARIES))
    standard = _inside(root, f"usr/lib/python{version}")
    modules = {path.relative_to(standard).as_posix(): path for path in _modules(standard)}
    if "os.py" not in modules:
        raise InputError(f"{standard} has no os.py: Python's standard library is missing")
    return Interpreter(
        version=version,
        files={
            PROGRAM: program,
            **{PurePosixPath("lib", name): path for name, path in libraries.items()},
            **{
                PurePosixPath("lib", f"python{version}", place): path
                for place, path in modules.items()
            },
        },
    )


def _version(programs: Path) -> str:
    found = [_PYTHON.fullmatch(path.name) for path in programs.glob("python3.*")]
    versions = [match[1] for match in found if match and numbers(match[1]) >= OLDEST_PYTHON]
    if not versions:
        raise InputError(f"{programs} has no Python of 3.11 or newer; is this a Debian root?")
    return min(versions, key=numbers)


def _library(root: Path, triple: str, pattern: str) -> tuple[str, Path]:
    """Find a library; return the name under which it is asked for, and its file."""
    for place in (f"usr/lib/{triple}", f"lib/{triple}"):
        folder = _inside(root, place)
        names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
        for name in sorted(fnmatch.filter(names, pattern)):
            return name, _inside(root, f"{place}/{name}")
    raise InputError(f"{root} has no {pattern} for {triple}")


def _modules(standard: Path) -> Iterator[Path]:
    """Find what is needed of the standard library; its links are Debian's own additions."""
    for path in standard.rglob("*"):
        place = PurePosixPath(path.relative_to(standard).as_posix())
        if path.is_file() and not path.is_symlink() and is_needed_of_python(place):
            yield path


def _inside(root: Path, place: str) -> Path:
    """Return where a path leads for whoever has ``root`` as the root folder.

    Raises:
        InputError: It leads through links without end.
    """
    rest, here, num_links = [*PurePosixPath(place).parts], PurePosixPath(), 0
    while rest:
        part = rest.pop(0)
        path = root / here / part
        if part in ("/", ".."):
            here = PurePosixPath() if part == "/" else here.parent
        elif path.is_symlink():
            rest, num_links = [*PurePosixPath(path.readlink()).parts, *rest], num_links + 1
            if num_links > _MAX_LINKS:
                raise InputError(f"{root / place} leads through links without end")
        else:
            here /= part
    return root / here

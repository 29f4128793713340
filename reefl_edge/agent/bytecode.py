"""How do an agent's modules start quickly, the same bytes every time?

As bytecode alone, which names no path of this machine and is not held to a source's time: Python
loads it as it is. Only a Python of the same version can compile it.
"""

import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from reefl_edge.agent.commands import run

# Nothing of the user's, and the same hash of every string each time.
_ARGUMENTS = ("-s", "-P")
_ENVIRONMENT = {"PYTHONHASHSEED": "0"}
_VERSION_CODE = "import platform; print(platform.python_version())"


def compile_modules(folders: Mapping[Path, int], root: Path, python: str) -> str | None:
    """Compile every module below some folders, and remove the sources.

    Args:
        folders: The folders, and how far to optimise what is in each: 2 leaves out docstrings and
            assertions, 0 nothing.
        root: The agent's folder, which they are in: modules name themselves from there.
        python: The version of the Python that will run them, such as ``3.11``.

    Returns:
        The full version of the Python that compiled; None: there is none of this version here, and
        the sources stay.
    """
    compiler = _compiler(python)
    if compiler is None:
        return None
    for folder, level in folders.items():
        argv = [
            *(compiler.program, *_ARGUMENTS, "-m", "compileall", "-q", "-b", "-f", "-j", "1"),
            *("--invalidation-mode", "unchecked-hash", "-o", str(level)),
            *("-s", str(root), "-p", "/", str(folder)),
        ]
        run(argv, purpose="compiling Python's modules", folder=root, environment=_ENVIRONMENT)
        for source in folder.rglob("*.py"):
            source.unlink()
    return compiler.version


class _Compiler(NamedTuple):
    """A Python on this machine, and its full version."""

    program: str
    version: str


def _compiler(python: str) -> _Compiler | None:
    """Find a Python of a version; what only stands for one that is not installed is none."""
    for program in (sys.executable, shutil.which(f"python{python}")):
        if program is not None:
            argv = [program, *_ARGUMENTS, "-c", _VERSION_CODE]
            asked = subprocess.run(argv, env=_ENVIRONMENT, capture_output=True, text=True)
            version = asked.stdout.strip()
            if asked.returncode == 0 and version.startswith(f"{python}."):
                return _Compiler(program, version)
    return None

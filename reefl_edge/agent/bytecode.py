"""How do an agent's modules start quickly, the same bytes every time?

As bytecode alone, which names no path of this machine and is not held to a source's time: Python
loads it as it is. Only a Python of the same version can compile it.
"""

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from reefl_edge.agent.commands import run


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
        _run(
            compiler,
            *("-m", "compileall", "-q", "-b", "-f", "-j", "1", "-o", str(level)),
            *("--invalidation-mode", "unchecked-hash", "-s", root, "-p", "/", folder),
        )
        for source in folder.rglob("*.py"):
            source.unlink()
    return _run(compiler, "-c", "import platform; print(platform.python_version())").strip()


def _compiler(python: str) -> str | None:
    major, minor = sys.version_info[:2]
    return sys.executable if python == f"{major}.{minor}" else shutil.which(f"python{python}")


def _run(compiler: str, *arguments: str | Path) -> str:
    """Run Python, with nothing of the user's and the same hash of every string each time."""
    return run(
        [compiler, "-s", "-P", *arguments],
        purpose="compiling Python's modules",
        folder=Path.cwd(),
        environment={"PYTHONHASHSEED": "0"},
    )

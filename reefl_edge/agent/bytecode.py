"""How do an agent's modules start quickly, the same bytes every time?

As bytecode alone, which names no path of this machine and is not held to a source's time: Python
loads it as it is. Only a Python of the same version can compile it.
"""

import shutil
import sys
from pathlib import Path

from reefl_edge.agent.commands import run


def compile_modules(folder: Path, python: str) -> str | None:
    """Compile every module below a folder, and remove the sources.

    Args:
        folder: The agent's folder.
        python: The version of its Python, such as ``3.11``.

    Returns:
        The full version of the Python that compiled; None: there is none of this version here, and
        the sources stay.
    """
    compiler = _compiler(python)
    if compiler is None:
        return None
    # The same hash of every string, nothing of the user's: what is written depends on the modules.
    environment = {"PYTHONHASHSEED": "0"}
    version = run(
        [compiler, "-s", "-P", "-c", "import platform; print(platform.python_version())"],
        purpose="asking Python for its version", folder=folder, environment=environment,
    )  # fmt: skip
    run(
        [
            *(compiler, "-s", "-P", "-m", "compileall", "-q", "-b", "-f", "-j", "1"),
            *("--invalidation-mode", "unchecked-hash", "-s", folder, "-p", "/", folder),
        ],
        purpose="compiling Python's modules", folder=folder, environment=environment,
    )  # fmt: skip
    for source in folder.rglob("*.py"):
        source.unlink()
    return version.strip()


def _compiler(python: str) -> str | None:
    major, minor = sys.version_info[:2]
    return sys.executable if python == f"{major}.{minor}" else shutil.which(f"python{python}")

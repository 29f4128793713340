"""How does another program do a part of the work, and what if it fails?"""

import errno
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from reefl_edge.errors import MissingToolchainError

_DISK_FULL = os.strerror(errno.ENOSPC)
# How apt, dpkg, pip and uv begin the line that says what went wrong, the most telling first.
_COMPLAINTS = ("ERROR: ", "error: ", "E: ", "W: ")


def run(
    argv: Sequence[str | Path],
    *,
    purpose: str,
    folder: Path,
    environment: Mapping[str, str] | None = None,
) -> str:
    """Run a program to its end.

    Args:
        argv: The program and its arguments.
        purpose: What it does, for the message, such as ``reading the package sources``.
        folder: Where it works and writes.
        environment: Its environment; None for ours.

    Returns:
        What it wrote to both of its streams.

    Raises:
        MissingToolchainError: It failed; why, in its own words.
        OSError: The disk is full.
    """
    ran = subprocess.run(
        argv,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if ran.returncode:
        if _DISK_FULL in ran.stdout:
            raise OSError(errno.ENOSPC, _DISK_FULL, str(folder))
        reason = complaint(ran.stdout) or f"exit code {ran.returncode}"
        raise MissingToolchainError(f"{purpose} failed: {reason}")
    return ran.stdout


def complaint(output: str) -> str:
    r"""Return the line in which a program says what went wrong; nothing if it wrote nothing.

    >>> complaint("Reading...\nE: Unable to locate package python3.11-minimal\nW: old")
    'Unable to locate package python3.11-minimal'
    """
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    for beginning in _COMPLAINTS:
        for line in lines:
            if line.startswith(beginning):
                return line.removeprefix(beginning)
    return lines[-1] if lines else ""

"""Agents for this machine that are none: they start the Python that runs the tests, or worse."""

import hashlib
import platform
import sys
import tarfile
from io import BytesIO
from pathlib import Path

from reefl_edge.agent.agent import START_NAME
from reefl_edge.devices.links.agents import AgentFor, PackedAgent

ROOT = Path(__file__).parents[1]

_OWN_PYTHON = (
    f"exec env -i PYTHONPATH={ROOT}:{ROOT / 'export'} ORT_DISABLE_TELEMETRY=1 "
    f'{sys.executable} -P "$@"'
)


def stand_in(folder: Path, start: str = _OWN_PYTHON, *, padding_bytes: int = 0) -> AgentFor:
    """Pack an agent into a folder; return what gives it for any machine.

    Args:
        folder: Must exist.
        start: What its start script does.
        padding_bytes: Zeros that are unpacked beside it.
    """
    archive = folder / "agent.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        _add(tar, START_NAME, f"#!/bin/sh\n{start}\n".encode())
        _add(tar, "padding", bytes(padding_bytes))
    sha256 = hashlib.sha256(archive.read_bytes()).hexdigest()
    return lambda _machine: PackedAgent(
        archive=archive,
        sha256=sha256,
        python_version=platform.python_version(),
        packages={"reefl-edge": "0.1.0", "zlib": "1"},
    )


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    member.mode = 0o755
    tar.addfile(member, BytesIO(content))

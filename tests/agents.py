"""An agent for this machine that is none: it starts the Python that runs the tests."""

import hashlib
import sys
import tarfile
from pathlib import Path

from reefl_edge.devices.links.agents import START_NAME, AgentFor, PackedAgent

ROOT = Path(__file__).parents[1]

_START = f"""#!/bin/sh
exec env -i PYTHONPATH={ROOT}:{ROOT / "export"} ORT_DISABLE_TELEMETRY=1 {sys.executable} -P "$@"
"""


def stand_in(folder: Path) -> AgentFor:
    """Pack such an agent into a folder; return what gives it for any machine."""
    start, archive = folder / START_NAME, folder / "agent.tar.gz"
    start.write_text(_START)
    start.chmod(0o755)
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(start, START_NAME)
    agent = PackedAgent(archive=archive, sha256=hashlib.sha256(archive.read_bytes()).hexdigest())
    return lambda _machine: agent

"""What obeys jobs on a device that has nothing installed?

An *agent*: a folder with an interpreter and all it needs (``reefl_edge/agent``). A link only has to
know its archive, and the name of what starts it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from reefl_edge.errors import DeviceError

# At the top of the archive; it takes Python's arguments.
START_NAME = "run"


class AgentArchive(Protocol):
    """An agent as a .tar.gz, to be unpacked on a device."""

    @property
    def archive(self) -> Path:
        """Where it lies here."""
        ...

    @property
    def sha256(self) -> str:
        """The hash of the archive: the agent's name."""
        ...


# Gives the agent for a machine, by what ``uname -m`` calls it there; a ``DeviceError`` where there
# is none.
AgentFor = Callable[[str], AgentArchive]


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedAgent:
    """An archive whose hash somebody has computed."""

    archive: Path
    sha256: str


def built_agent(machine: str) -> AgentArchive:
    """Return the agent for a machine, as it was built here.

    Raises:
        DeviceError: There is none.
    """
    raise DeviceError(f"there is no agent for {machine}")

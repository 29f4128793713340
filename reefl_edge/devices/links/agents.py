"""What obeys jobs on a device that has nothing installed?

An *agent*: a folder with an interpreter and all it needs (``reefl_edge/agent``). A link only has to
know its archive, and what it is to say of the software that computes there.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from reefl_edge.agent.building import agent_for


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedAgent:
    """An agent as a .tar.gz, to be unpacked on a device.

    Attributes:
        archive: Where it lies here.
        sha256: The hash of the archive: the agent's name.
        python_version: Of its interpreter; None if it does not say.
        packages: Version of each package in it.
    """

    archive: Path
    sha256: str
    python_version: str | None = None
    packages: Mapping[str, str] = field(default_factory=dict)


# Gives the agent for a machine, by what ``uname -m`` calls it there; a ``DeviceError`` where there
# is none.
AgentFor = Callable[[str], PackedAgent]


def built_agent(machine: str) -> PackedAgent:
    """Return the agent for a machine, from the cache or built now; see ``agent_for``."""
    agent = agent_for(machine)
    return PackedAgent(
        archive=agent.archive,
        sha256=agent.sha256,
        python_version=agent.manifest.python_version,
        packages=agent.manifest.packages,
    )

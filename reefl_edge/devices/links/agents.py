"""What obeys jobs on a device that has nothing installed?

An *agent*: a folder with an interpreter and all it needs (``reefl_edge/agent``), or all but the
interpreter, for a device that has one. A link only has to know its archive, and what it is to say
of the software that computes there.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from reefl_edge.agent.agent import Agent
from reefl_edge.agent.arch import arch_of
from reefl_edge.agent.building import agent_for, build_agent
from reefl_edge.agent.sources import DevicePython, numbers
from reefl_edge.errors import DeviceError


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedAgent:
    """An agent as a .tar.gz, to be unpacked on a device.

    Attributes:
        archive: Where it lies here.
        sha256: The hash of the archive: the agent's name.
        python_version: Of its interpreter; None if it does not say.
        packages: Version of each package in it.
        has_own_python: Whether it brings its interpreter; else it runs on the device's.
    """

    archive: Path
    sha256: str
    python_version: str | None = None
    packages: Mapping[str, str] = field(default_factory=dict)
    has_own_python: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What an agent has to fit.

    Attributes:
        name: The device's, for messages.
        abi: What ``uname -m`` calls it there.
        find_pythons: Asks it for the versions of its Pythons that an agent without one can run on,
            such as ``3.12``.
    """

    name: str
    abi: str
    find_pythons: Callable[[], tuple[str, ...]]


# Gives the agent for a machine; a ``DeviceError`` where there is none.
AgentFor = Callable[[Machine], PackedAgent]


def built_agent(machine: Machine) -> PackedAgent:
    """Return the agent for a machine, from the cache or built now; see ``agent_for``."""
    return packed(agent_for(machine.abi))


def device_python_agent(machine: Machine) -> PackedAgent:
    """Return the agent that runs on a machine's own Python, from the cache or built now.

    Of several Pythons that will do, the oldest is taken.

    Raises:
        DeviceError: There is none, or no agent for such a machine.
        MissingToolchainError: The agent is not built yet, and cannot be; see ``build_agent``.
    """
    arch = arch_of(machine.abi)
    versions = machine.find_pythons()
    if not versions:
        raise DeviceError(
            f"{machine.name} has no Python that an agent can run on: CPython 3.11 or newer, of 64 "
            "bits, with glibc 2.28 or newer; an agent that brings its own needs none"
        )
    return packed(build_agent(arch, DevicePython(min(versions, key=numbers))))


def packed(agent: Agent) -> PackedAgent:
    """Return what a link has to know of an agent."""
    return PackedAgent(
        archive=agent.archive,
        sha256=agent.sha256,
        python_version=agent.manifest.python_version,
        packages=agent.manifest.packages,
        has_own_python=agent.has_own_python,
    )

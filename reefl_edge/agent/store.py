"""Which agents were built on this machine, and away with them.

Each lies in a folder of the user's cache, named by the hash of what it was to be built from
(``building.py``).
"""

import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from reefl_edge.agent.agent import Agent
from reefl_edge.errors import InputError
from reefl_edge.kept import kept_folder

# Ours, and nothing else: agents, and what a killed process left of one.
_OWN = re.compile(r"[0-9a-f]{64}|\.[0-9a-f]{64}\.[0-9a-f]+\.(partial|old)")
# Fewer digits of a hash are typed by mistake.
_MIN_DIGITS = 4


def agents_folder() -> Path:
    """Return where agents are kept; it need not exist."""
    return kept_folder("agents")


def stored_agent(key: str) -> Agent | None:
    """Return the agent that was built under a key; None if there is none, or it is damaged."""
    with suppress(InputError, OSError):
        return Agent.open(agents_folder() / key)
    return None


def list_agents() -> tuple[Agent, ...]:
    """Return every agent that was built here and is whole, the newest first."""
    found = [agent for path in _own_folders() if (agent := stored_agent(path.name))]
    return tuple(sorted(found, key=lambda agent: agent.archive.stat().st_mtime, reverse=True))


def find_agent(name: str) -> Agent:
    """Return the agent whose hash begins with some digits.

    Raises:
        ValueError: None does, or several do.
    """
    found = [agent for agent in list_agents() if agent.sha256.startswith(name)]
    if len(name) < _MIN_DIGITS or len(found) != 1:
        raise ValueError(
            f"{name!r} names {len(found)} agents; give {_MIN_DIGITS} digits or more of the hash of "
            "one, as listed"
        )
    return found[0]


def remove_agent(agent: Agent) -> int:
    """Remove an agent from this machine; return how many bytes that frees.

    Raises:
        OSError: The system does not let us.
    """
    return _remove(agent.folder.parent)


def clear_agents() -> int:
    """Remove all agents, whole or not, and nothing else; return how many bytes that frees.

    Raises:
        OSError: The system does not let us.
    """
    return sum(_remove(path) for path in [*_own_folders()])


def _remove(home: Path) -> int:
    size_bytes = sum(path.stat().st_size for path in home.rglob("*") if path.is_file())
    shutil.rmtree(home)
    return size_bytes


def _own_folders() -> Iterator[Path]:
    home = agents_folder()
    if home.is_dir():
        for path in sorted(home.iterdir()):
            if _OWN.fullmatch(path.name) and path.is_dir() and not path.is_symlink():
                yield path

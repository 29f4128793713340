"""Real agents for this machine, built once per checkout, and a way to run them.

They need package sources, an index and the network. Where these are missing, their tests are
skipped with the reason, unless ``REEFL_EDGE_AGENTS`` says that they must run (``.ci/run``).
"""

import os
import platform
import subprocess

import pytest

from reefl_edge.agent.agent import Agent
from reefl_edge.agent.arch import arch_of
from reefl_edge.agent.building import build_agent, is_current
from reefl_edge.agent.sources import AptSources, Source
from reefl_edge.agent.store import list_agents, remove_agent
from reefl_edge.errors import MissingToolchainError


def built_agent(
    config: pytest.Config, source: Source | None = None, *, machine: str = platform.machine()
) -> Agent:
    """Return an agent, built if need be; skip the test where that cannot be.

    Args:
        config: Of the test run: agents lie in its cache.
        source: Where its Python comes from; None for apt's sources.
        machine: What it is for, as ``uname`` says.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REEFL_EDGE_HOME", str(config.cache.mkdir("reefl-edge")))
        for agent in list_agents():
            if not is_current(agent):
                remove_agent(agent)
        try:
            return build_agent(arch_of(machine), source or AptSources())
        except MissingToolchainError as error:
            if os.environ.get("REEFL_EDGE_AGENTS"):
                raise
            pytest.skip(str(error))


def run_agent(agent: Agent, *arguments: object, stdin: bytes = b"", **environment: str) -> bytes:
    """Run an agent, with Python's arguments and next to no environment; return what it writes."""
    ran = subprocess.run(
        [str(agent.folder / "run"), *map(str, arguments)],
        input=stdin,
        capture_output=True,
        env={"PATH": "/usr/bin:/bin", **environment},
        check=False,
    )
    assert ran.returncode == 0, ran.stderr.decode()
    return ran.stdout

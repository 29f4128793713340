"""Devices at the end of a real link that are, in truth, this machine."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from reefl_edge.devices.links.adb import adb_link
from reefl_edge.devices.links.agents import AgentFor
from reefl_edge.devices.links.shell import ShellLink
from reefl_edge.devices.links.ssh import ssh_link
from tests.agents import stand_in
from tests.cables import Cable, cable_to
from tests.phone.phones import OWN_PYTHON, adb, adb_server, needs_adb, phone_in
from tests.processes import is_gone
from tests.sshd import HOST, needs_sshd, sshd_in

LINKS = [pytest.param("ssh", marks=needs_sshd), pytest.param("adb", marks=needs_adb)]


@dataclass(frozen=True, slots=True)
class Remote:
    """A device that is there.

    Attributes:
        kind: Of the link, ``ssh`` or ``adb``.
        root: The root of links there, as this machine sees it.
        environment: What has to be set for the client to find it.
        port: Where it listens, on 127.0.0.1.
        agent_for: Gives an agent that does our jobs there.
        connect: Opens a link to it by a port, with what gives an agent.
    """

    kind: str
    root: Path
    environment: dict[str, str]
    port: int
    agent_for: AgentFor
    connect: Callable[[int, AgentFor], ShellLink]

    def open(self, agent_for: AgentFor | None = None) -> ShellLink:
        """Open a new link to it."""
        return self.connect(self.port, agent_for or self.agent_for)

    @contextmanager
    def cable(self) -> Iterator[tuple[Cable, ShellLink]]:
        """Open a new link to it, over a cable that can be cut."""
        with cable_to(self.port) as cable:
            yield cable, self.connect(cable.port, self.agent_for)
        self.connect(self.port, self.agent_for)  # by the way that others use

    def processes(self) -> list[psutil.Process]:
        """Find what runs there for a link: it works in the root."""
        return [
            process
            for process in psutil.process_iter(["cwd"])
            if str(self.root) in (process.info["cwd"] or "")
        ]

    def jobs(self) -> list[psutil.Process]:
        """Find what runs there for a job: it works in a folder of its own."""
        runs = str(self.root / "runs")
        return [process for process in self.processes() if runs in process.info["cwd"]]

    def is_idle(self) -> bool:
        """Wait until no job runs there; tell whether it came to that."""
        return all(is_gone(process) for process in self.jobs())


@contextmanager
def remote_of(kind: str, folder: Path, *, agent_for: AgentFor | None = None) -> Iterator[Remote]:
    """Have a device at the end of a link while the block runs.

    Args:
        kind: Of the link.
        folder: Is filled.
        agent_for: Gives its agent; None for a stand-in, which needs our own Python there.
    """
    (folder / "agent").mkdir()
    binds = OWN_PYTHON if agent_for is None else ()
    agent_for = agent_for or stand_in(folder / "agent")
    with _board(folder, agent_for) if kind == "ssh" else _phone(folder, agent_for, binds) as remote:
        yield remote


@contextmanager
def _board(folder: Path, agent_for: AgentFor) -> Iterator[Remote]:
    with sshd_in(folder) as server:

        def connect(port: int, agent_for: AgentFor) -> ShellLink:
            server.configure(port)
            return ssh_link(HOST, agent_for=agent_for)

        environment = {"PATH": server.path}
        yield Remote("ssh", server.root, environment, server.port, agent_for, connect)


@contextmanager
def _phone(folder: Path, agent_for: AgentFor, binds: Sequence[Path]) -> Iterator[Remote]:
    with adb_server(folder) as environment, phone_in(folder / "phone", binds=binds) as phone:

        def connect(port: int, agent_for: AgentFor) -> ShellLink:
            serial = f"127.0.0.1:{port}"
            adb(environment, "connect", serial)
            return adb_link(serial, agent_for=agent_for)

        root = phone.root / "data/local/tmp/reefl-edge"
        yield Remote("adb", root, environment, phone.port, agent_for, connect)

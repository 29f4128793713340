"""Devices at the end of a real link that are, in truth, this machine."""

from collections.abc import Callable, Iterator
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
from tests.phone.phones import adb, adb_server, needs_adb, phone_in
from tests.processes import is_gone
from tests.sshd import HOST, needs_sshd, sshd_in

LINKS = [pytest.param("ssh", marks=needs_sshd), pytest.param("adb", marks=needs_adb)]


@dataclass(frozen=True, slots=True)
class Remote:
    """A device that is there.

    Attributes:
        kind: Of the link, ``ssh`` or ``adb``.
        open: Opens a new link to it.
        root: The root of links there, as this machine sees it.
        environment: What has to be set for the client to find it.
        port: Where it listens, on 127.0.0.1.
    """

    kind: str
    open: Callable[[], ShellLink]
    root: Path
    environment: dict[str, str]
    port: int

    def processes(self) -> list[psutil.Process]:
        """Find what runs there for a link: what works in its root, or names it."""
        return [
            process
            for process in psutil.process_iter(["cwd", "cmdline"])
            if str(self.root / "runs") in (process.info["cwd"] or "")
        ]

    def is_idle(self) -> bool:
        """Wait until nothing runs there; tell whether it came to that."""
        return all(is_gone(process) for process in self.processes())


@contextmanager
def remote_of(kind: str, folder: Path) -> Iterator[Remote]:
    """Have a device at the end of a link while the block runs."""
    (folder / "agent").mkdir()
    agent_for = stand_in(folder / "agent")
    with _board(folder, agent_for) if kind == "ssh" else _phone(folder, agent_for) as remote:
        yield remote


@contextmanager
def _board(folder: Path, agent_for: AgentFor) -> Iterator[Remote]:
    with sshd_in(folder) as server:
        yield Remote(
            "ssh",
            lambda: ssh_link(HOST, agent_for=agent_for),
            server.root,
            {"PATH": server.path},
            server.port,
        )


@contextmanager
def _phone(folder: Path, agent_for: AgentFor) -> Iterator[Remote]:
    with adb_server(folder) as environment, phone_in(folder / "phone") as phone:
        adb(environment, "connect", phone.serial)
        yield Remote(
            "adb",
            lambda: adb_link(phone.serial, agent_for=agent_for),
            phone.root / "data/local/tmp/reefl-edge",
            environment,
            phone.port,
        )

"""How is a device reached by ssh?

By the system's OpenSSH, so that the user's configuration, keys, agents and jump hosts are used as
everywhere. Nothing is asked: whoever cannot log in without a question hears what to set up.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from reefl_edge.devices.links.agents import AgentFor
from reefl_edge.devices.links.shell import ShellLink
from reefl_edge.partials import partial_folder, sweep

PREFIX = "ssh:"

_TARGET = re.compile(
    r"(?P<login>[^\s:-][^\s:]*|[^\s:-][^\s:]*@\[[0-9a-fA-F:]+\])(?::(?P<port>\d+))?"
)

# The path of a socket has at most about a hundred bytes: too few for some folders of TMPDIR.
_SOCKETS = Path("/tmp/reefl-edge-ssh")

_OPTIONS = (
    "BatchMode=yes",
    "ConnectTimeout=15",
    # A network that is gone is noticed within a quarter of a minute.
    "ServerAliveInterval=5",
    "ServerAliveCountMax=3",
    # What a user's configuration may say of logins, and would be in the way of ours.
    "ClearAllForwardings=yes",
    "ControlMaster=no",
    "ControlPersist=no",
    "RemoteCommand=none",
    "RequestTTY=no",
)

# What ssh says, what it means; the first that fits. ``{host}`` is what the user named.
_TROUBLES = (
    (
        "REMOTE HOST IDENTIFICATION HAS CHANGED",
        "its host key has changed; if that is as it should be, forget the old one with "
        "'ssh-keygen -R {host}', and connect once with 'ssh {login}'",
    ),
    (
        "Host key verification failed",
        "its host key is not known here; connect once with 'ssh {login}', and accept it",
    ),
    (
        "Permission denied",
        "it does not let us in without a password; set up a key, for instance with "
        "'ssh-copy-id {login}'",
    ),
    ("Could not resolve hostname", "no host is called {host}"),
    ("No route to host|Network is unreachable", "there is no route to {host}"),
    ("Connection refused", "{host} refuses the connection; is its ssh server running?"),
    ("[Tt]imed out", "{host} does not answer"),
    ("command not found|not found", "it has no POSIX shell"),
    ("closed by|reset by|Broken pipe|lost connection|not responding", "the link was cut"),
)


class SshClient:
    """OpenSSH's client.

    Args:
        target: ``[user@]host[:port]``, or a name in the user's configuration.

    Raises:
        ValueError: It is none of those.
    """

    root = ""

    def __init__(self, target: str) -> None:
        match = _TARGET.fullmatch(target)
        if match is None:
            raise ValueError(
                f"{PREFIX}{target} names no host: write ssh:USER@HOST or ssh:HOST:PORT"
            )
        self._login = match["login"]
        self._port = match["port"]
        self._control: Path | None = None
        self._is_first = False

    def shell(self, command: str) -> list[str]:
        """Return the argv that has the user's shell there run a command."""
        options = list(_OPTIONS)
        if self._control is not None:
            options = [f"ControlPath={self._control}", *options]
            if self._is_first:
                options[options.index("ControlMaster=no")] = "ControlMaster=yes"
                self._is_first = False
        argv = ["ssh", "-T", *(part for option in options for part in ("-o", option))]
        if self._port is not None:
            argv += ["-p", self._port]
        return [*argv, "--", self._login, command]

    @contextmanager
    def connection(self) -> Iterator[None]:
        """Let all calls go over the connection of the first; see ``Client.connection``."""
        sweep(_SOCKETS)
        with partial_folder(_SOCKETS, mode=0o700) as folder:
            self._control, self._is_first = folder / "s", True
            try:
                yield
            finally:
                self._control = None

    def sending(self, here: Path, there: str) -> list[str] | None:  # noqa: ARG002
        """Return None: the shell receives what is sent."""
        return None

    def trouble(self, stderr: str) -> str:
        """Say what ssh could not do."""
        for said, meaning in _TROUBLES:
            if re.search(said, stderr):
                host = self._login.rpartition("@")[2]
                return meaning.format(host=host, login=self._login)
        lines = stderr.strip().splitlines()
        return lines[-1] if lines else ""


def ssh_link(target: str, *, agent_for: AgentFor) -> ShellLink:
    """Return the link to ``[user@]host[:port]``.

    Raises:
        ValueError: It names no host.
    """
    return ShellLink(f"{PREFIX}{target}", SshClient(target), agent_for=agent_for)

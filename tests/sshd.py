"""A real ssh server on this machine, with keys of its own: a device at the end of a wire.

Whoever logs in is who runs the tests; what is kept there goes into a folder of the test. The Python
that the board has is the one that runs the tests.
"""

import getpass
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")

needs_sshd = pytest.mark.skipif(
    SSHD is None or shutil.which("ssh") is None or shutil.which("ssh-keygen") is None,
    reason="there is no sshd: Debian has it in openssh-server",
)

HOST = "board"


@dataclass(frozen=True, slots=True)
class Sshd:
    """A server, and the folder in which client and server have their files.

    Attributes:
        folder: With ``bin/ssh``, which is the system's with a configuration that knows ``HOST``.
        port: Where it listens.
    """

    folder: Path
    port: int

    @property
    def root(self) -> Path:
        """The root of links there."""
        return self.folder / "cache" / "reefl-edge"

    @property
    def path(self) -> str:
        """A PATH with our ssh first."""
        return f"{self.folder / 'bin'}:{os.environ['PATH']}"

    @property
    def config(self) -> Path:
        """What the client is told of the server."""
        return self.folder / "config"

    @property
    def known_hosts(self) -> Path:
        """Which key the client expects of the server."""
        return self.folder / "known_hosts"

    def configure(self, port: int, *extra: str) -> None:
        """Let the client find the server at a port."""
        lines = (
            "Host *",
            f"  Port {port}",
            "  HostName 127.0.0.1",
            f"  User {getpass.getuser()}",
            f"  IdentityFile {self.folder / 'key'}",
            "  IdentitiesOnly yes",
            f"  UserKnownHostsFile {self.known_hosts}",
            "  GlobalKnownHostsFile /dev/null",
            f"  HostKeyAlias {HOST}",
            *extra,
        )
        self.config.write_text("\n".join(lines) + "\n")


@contextmanager
def sshd_in(folder: Path) -> Iterator[Sshd]:
    """Run a server while the block runs."""
    assert SSHD is not None
    for name in ("key", "host_key"):
        _make_key(folder / name)
    shutil.copy(folder / "key.pub", folder / "authorized_keys")
    host_key = (folder / "host_key.pub").read_text()
    (folder / "known_hosts").write_text(f"{HOST} {host_key}")
    (folder / "cache").mkdir()
    (folder / "bin").mkdir()
    ssh = folder / "bin" / "ssh"
    ssh.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {folder / "config"} "$@"\n')
    ssh.chmod(0o755)
    server = Sshd(folder, _free_port())
    server.configure(server.port)
    (folder / "sshd_config").write_text(
        f"Port {server.port}\n"
        "ListenAddress 127.0.0.1\n"
        f"HostKey {folder / 'host_key'}\n"
        f"AuthorizedKeysFile {folder / 'authorized_keys'}\n"
        f"SetEnv XDG_CACHE_HOME={folder / 'cache'} REEFL_EDGE_PYTHON={sys.executable}\n"
        f"PidFile {folder / 'pid'}\n"
        "StrictModes no\n"
        "UsePAM no\n"
        "PasswordAuthentication no\n"
        "MaxStartups 100\n"
    )
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    process = subprocess.Popen(
        [SSHD, "-D", "-E", str(folder / "log"), "-f", str(folder / "sshd_config")],
        stdin=subprocess.DEVNULL,
    )
    try:
        _await_port(server.port)
        yield server
    finally:
        process.terminate()
        process.wait()


def _make_key(path: Path) -> None:
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)]
    subprocess.run(command, check=True)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _await_port(port: int) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.02)
    raise AssertionError(f"nothing listens on port {port}")

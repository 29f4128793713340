"""How is a SuperLink of our own started, and what does it need?"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from reefl_edge.federation.flower import door
from reefl_edge.federation.flower.control import Control
from reefl_edge.federation.flower.environment import flower_environment
from reefl_edge.federation.flower.processes import LOOPBACK, check_port, free_port, running

LOG_NAME = "superlink.log"
_EVERYWHERE = ("0.0.0.0", "::")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerCertificates:
    """What a SuperLink proves with that it is the one nodes are to speak to.

    Attributes:
        authority: The certificate that signed its own.
        certificate: Its own.
        key: The private key of that.
    """

    authority: Path
    certificate: Path
    key: Path


@contextmanager
def simulating_superlink(home: Path, folder: Path, *, log_level: str) -> Iterator[Control]:
    """Run a SuperLink on a free port of this machine that simulates its nodes.

    Args:
        home: Flower's home.
        folder: Where what it starts runs, so that relative paths of settings begin there.
        log_level: What Flower says of its own work, from this level on.

    Raises:
        FederationError: It does not start.
    """
    with _started(
        [*_listening(LOOPBACK, port := free_port()), "--insecure", "--simulation"],
        Control(f"{LOOPBACK}:{port}", None),
        home,
        folder,
        log_level=log_level,
    ) as control:
        yield control


@contextmanager
def deployed_superlink(
    home: Path,
    folder: Path,
    host: str,
    port: int,
    certificates: ServerCertificates,
    *,
    log_level: str,
) -> Iterator[Control]:
    """Run a SuperLink that nodes with registered keys connect to, over TLS.

    Raises:
        FederationError: It cannot listen there, or does not start.
    """
    check_port(host, port)
    with _started(
        [
            *_listening(host, port),
            "--enable-supernode-auth",
            *("--ssl-ca-certfile", str(certificates.authority)),
            *("--ssl-certfile", str(certificates.certificate)),
            *("--ssl-keyfile", str(certificates.key)),
        ],
        Control(_own_address(host, port), certificates.authority),
        home,
        folder,
        log_level=log_level,
    ) as control:
        yield control


def _own_address(host: str, port: int) -> str:
    """Return what this machine reaches its SuperLink by.

    >>> _own_address("0.0.0.0", 9092), _own_address("fe80::1", 9092)
    ('127.0.0.1:9092', '[fe80::1]:9092')
    """
    if host in _EVERYWHERE:
        host = LOOPBACK
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _listening(host: str, port: int) -> list[str]:
    return ["--host", host, "--port", str(port)]


@contextmanager
def _started(
    arguments: list[str], control: Control, home: Path, folder: Path, *, log_level: str
) -> Iterator[Control]:
    home.mkdir(parents=True, exist_ok=True)
    with (
        running(
            [sys.executable, "-m", door.__name__, *arguments],
            environment=flower_environment(home, log_level=log_level),
            log=home / LOG_NAME,
            folder=folder,
        ) as program,
        control,
    ):
        control.wait_until_ready(program, home / LOG_NAME)
        yield control

"""How do we run one of Flower's programs, so that it ends with us, and where does it listen?"""

import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from reefl_edge.devices.links.lifeline import lifeline
from reefl_edge.errors import FederationError
from reefl_edge.federation.flower import keeper

LOOPBACK = "127.0.0.1"


@contextmanager
def running(
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    log: Path | None = None,
    folder: Path | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program while the block runs; then it is gone, and all that it started.

    The same holds if this process is interrupted or killed, whatever the signal.

    Args:
        command: The program and its arguments.
        environment: What it finds around it (``environment.flower_environment``).
        log: Where all goes that it says; None for this process's stderr.
        folder: Where it runs; None for where this process does.

    Yields:
        The process that keeps it, which ends with the program and its exit code.
    """
    process: subprocess.Popen[bytes] | None = None
    try:
        with _said_to(log) as output, lifeline() as end:
            process = subprocess.Popen(
                [sys.executable, "-m", keeper.__name__, str(end), *command],
                pass_fds=(end,),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment,
                cwd=folder,
                start_new_session=True,  # Ctrl-C is for us: we end it in order
            )
            yield process
    finally:  # the lifeline has ended
        if process is not None:
            process.wait()


def free_port() -> int:
    """Return a port of this machine that nobody listens on just now."""
    with socket.create_server((LOOPBACK, 0)) as server:
        return int(server.getsockname()[1])


def check_port(host: str, port: int) -> None:
    """Refuse an address that we cannot listen on.

    Raises:
        FederationError: Somebody else does, or it is not this machine's.
    """
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        reason = str(error.strerror or error).lower()
        raise FederationError(f"cannot listen on {host}:{port}: {reason}") from error


def last_line(said: str) -> str:
    r"""Return what a program said last.

    >>> last_line("ERROR: no\n\n")
    'ERROR: no'
    """
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"


@contextmanager
def _said_to(log: Path | None) -> Iterator[int]:
    if log is None:
        yield sys.stderr.fileno()
        return
    with log.open("ab") as file:
        yield file.fileno()

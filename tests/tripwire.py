"""A proxy that nobody should ask: it notes what is asked of it, and answers nothing."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

# The variables by which programs are told of a proxy.
PROXIES = ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")


class Tripwire:
    """Ends each connection as soon as it is known where it was to lead.

    Attributes:
        hosts: Where they were to lead.
    """

    def __init__(self, server: socket.socket) -> None:
        self._server = server
        self.hosts: set[str] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        """What a program is told is its proxy."""
        return f"http://127.0.0.1:{self._server.getsockname()[1]}"

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._server.accept()
                with connection, connection.makefile("rb") as request:
                    self.hosts.add(_host_of(request.readline().decode(errors="replace")))


def _host_of(line: str) -> str:
    """Return the host in the first line of a request to a proxy.

    >>> _host_of("CONNECT telemetry.flower.ai:443 HTTP/1.1")
    'telemetry.flower.ai'
    """
    _, _, target = line.partition(" ")
    target = target.partition(" ")[0]
    return urlsplit(target if "//" in target else f"//{target}").hostname or line


@contextmanager
def tripwire() -> Iterator[Tripwire]:
    """Lay one while the block runs."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield Tripwire(server)
        with suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)

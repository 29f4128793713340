"""A proxy that nobody should ask: it counts who does, and answers nothing."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

# The variables by which programs are told of a proxy.
PROXIES = ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")


class Tripwire:
    """Counts connections, and ends each at once.

    Attributes:
        num_connections: How many there were.
    """

    def __init__(self, server: socket.socket) -> None:
        self._server = server
        self.num_connections = 0
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        """What a program is told is its proxy."""
        return f"http://127.0.0.1:{self._server.getsockname()[1]}"

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._server.accept()
                self.num_connections += 1
                connection.close()


@contextmanager
def tripwire() -> Iterator[Tripwire]:
    """Lay one while the block runs."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield Tripwire(server)
        with suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)

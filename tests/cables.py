"""A cable that counts what it carries, and can be cut: between a client and a server on TCP."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Cable:
    """Carries connections from a port of its own to another.

    Attributes:
        port: Where clients connect to.
        bytes_there: What was carried towards the server.
        bytes_back: What was carried back.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self.bytes_there = 0
        self.bytes_back = 0
        self._ends: list[socket.socket] = []
        self._is_cut = False
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """End all connections at once, and carry no more."""
        self._is_cut = True
        for end in (self._server, *self._ends):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def cut_after(self, seconds: float) -> None:
        """Cut it in a while."""
        timer = threading.Timer(seconds, self.cut)
        timer.daemon = True
        timer.start()

    def _accept(self) -> None:
        while not self._is_cut:
            try:
                client, _ = self._server.accept()
                server = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                return
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._ends.append(end)
            threading.Thread(target=self._carry, args=(client, server, True), daemon=True).start()
            threading.Thread(target=self._carry, args=(server, client, False), daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket, is_there: bool) -> None:
        with suppress(OSError):
            while content := source.recv(2**16):
                sink.sendall(content)
                if is_there:
                    self.bytes_there += len(content)
                else:
                    self.bytes_back += len(content)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_WR)


@contextmanager
def cable_to(port: int) -> Iterator[Cable]:
    """Lay a cable to a port while the block runs."""
    cable = Cable(port)
    try:
        yield cable
    finally:
        cable.cut()

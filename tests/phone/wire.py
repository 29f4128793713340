"""The wire protocol of adb, as a device speaks it over TCP.

One connection carries *streams*: the client opens one for a service by name, both sides write and
acknowledge each message before the next. Source: AOSP, packages/modules/adb/protocol.txt.
"""

import queue
import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress

_HEADER = struct.Struct("<6I")
_VERSION = 0x01000001  # no checksums
_MAX_DATA = 2**20

# What a device can do that a client of Debian 12 asks for.
_FEATURES = "shell_v2,cmd,stat_v2,ls_v2,fixed_push_mkdir"


def _number(name: bytes) -> int:
    return int.from_bytes(name, "little")


_CNXN, _AUTH, _OPEN, _OKAY, _WRTE, _CLSE = map(
    _number, (b"CNXN", b"AUTH", b"OPEN", b"OKAY", b"WRTE", b"CLSE")
)
# What a client may send to be let in.
_SIGNATURE = 2


class Stream:
    """One service at work: bytes in, bytes out, until either side closes it."""

    def __init__(self, connection: "Connection", own_id: int, their_id: int) -> None:
        self._connection = connection
        self._own_id, self._their_id = own_id, their_id
        self._incoming: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._buffer = b""
        self._acknowledged = threading.Semaphore(0)
        self.is_closed = threading.Event()

    def read(self, size: int | None = None) -> bytes:
        """Return so many bytes, or what has come; fewer, or none, where the stream is closed."""
        while len(self._buffer) < (1 if size is None else size):
            chunk = self._incoming.get()
            if not chunk:
                self._incoming.put(b"")
                break
            self._buffer += chunk
            with suppress(OSError):
                self._connection.send(_OKAY, self._own_id, self._their_id)
        end = len(self._buffer) if size is None else size
        content, self._buffer = self._buffer[:end], self._buffer[end:]
        return content

    def write(self, content: bytes) -> None:
        """Write, and wait for the client to have it.

        Raises:
            OSError: The stream is closed.
        """
        for start in range(0, len(content), _MAX_DATA // 4):
            chunk = content[start : start + _MAX_DATA // 4]
            self._connection.send(_WRTE, self._own_id, self._their_id, chunk)
            self._acknowledged.acquire()
            if self.is_closed.is_set():
                raise OSError("the stream is closed")

    def close(self) -> None:
        """Close from our side."""
        if not self.is_closed.is_set():
            with suppress(OSError):
                self._connection.send(_CLSE, self._own_id, self._their_id)
        self.closed_there()

    def received(self, content: bytes) -> None:
        """Take what the client wrote."""
        self._incoming.put(content)

    def acknowledged(self) -> None:
        """Hear that the client has what was written last."""
        self._acknowledged.release()

    def closed_there(self) -> None:
        """Hear that the client reads and writes no more."""
        self.is_closed.set()
        self._incoming.put(b"")
        self._acknowledged.release()


class Connection:
    """A client at the other end of a socket.

    Args:
        end: The socket.
        banner: What the device calls itself, ``device::ro.product.model=...;``.
        is_authorized: Whether somebody has allowed this client on the device's screen.
        serve: Does what a service's name says, over a stream.
    """

    def __init__(
        self,
        end: socket.socket,
        *,
        banner: str,
        is_authorized: bool,
        serve: Callable[[str, Stream], None],
    ) -> None:
        self._end = end
        self._banner = banner
        self._is_authorized = is_authorized
        self._serve = serve
        self._streams: dict[int, Stream] = {}
        self._sending = threading.Lock()

    def send(self, command: int, first: int, second: int, content: bytes = b"") -> None:
        """Send one message."""
        checksum = sum(content) & 0xFFFFFFFF if command in (_CNXN, _AUTH) else 0
        header = _HEADER.pack(command, first, second, len(content), checksum, command ^ 0xFFFFFFFF)
        with self._sending:
            self._end.sendall(header + content)

    def talk(self) -> None:
        """Answer until the client is gone."""
        try:
            while True:
                command, first, second, length, _, _ = _HEADER.unpack(self._receive(_HEADER.size))
                self._answer(command, first, second, self._receive(length))
        except OSError:
            pass
        finally:
            self._end.close()
            for stream in list(self._streams.values()):
                stream.closed_there()

    def _answer(self, command: int, first: int, second: int, content: bytes) -> None:
        if (command == _CNXN and not self._is_authorized) or (
            command == _AUTH and first == _SIGNATURE
        ):
            self.send(_AUTH, 1, 0, bytes(20))
        elif command == _CNXN:
            banner = f"{self._banner}features={_FEATURES}"
            self.send(_CNXN, _VERSION, _MAX_DATA, banner.encode())
        elif command == _OPEN:
            self._open(first, content.rstrip(b"\0").decode())
        elif (stream := self._streams.get(second)) is not None:
            if command == _WRTE:
                stream.received(content)
            elif command == _OKAY:
                stream.acknowledged()
            elif command == _CLSE:
                stream.closed_there()

    def _open(self, their_id: int, service: str) -> None:
        own_id = len(self._streams) + 1
        stream = self._streams[own_id] = Stream(self, own_id, their_id)

        def serve() -> None:
            try:
                self._serve(service, stream)
            except OSError:
                pass  # the client is gone
            finally:
                stream.close()

        self.send(_OKAY, own_id, their_id)
        threading.Thread(target=serve, daemon=True).start()

    def _receive(self, size: int) -> bytes:
        content = bytearray()
        while len(content) < size:
            chunk = self._end.recv(size - len(content))
            if not chunk:
                raise OSError("the client is gone")
            content += chunk
        return bytes(content)

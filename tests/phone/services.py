"""The services of a device that adb's client asks for: a shell, and files.

Source: AOSP, packages/modules/adb: shell_protocol.h, SYNC.TXT, file_sync_protocol.h.
"""

import os
import signal
import socket
import stat
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from tests.phone.wire import Stream

# Returns what starts a shell on the device that runs a command.
ShellArgv = Callable[[str], list[str]]

_STDIN, _STDOUT, _STDERR, _EXIT, _CLOSE_STDIN = range(5)
_SHELL_HEADER = struct.Struct("<BI")
_SYNC_HEADER = struct.Struct("<4sI")
_STAT_2 = struct.Struct("<4sIQQIIIIQqqq")


def serve_shell(stream: Stream, argv: list[str]) -> None:
    """Run a shell's command; one socket is its standard input and output, as it is with adbd."""
    ours, theirs = socket.socketpair()
    process = subprocess.Popen(
        argv,
        stdin=theirs.fileno(),
        stdout=theirs.fileno(),
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    theirs.close()
    assert process.stderr is not None
    writing = threading.Lock()

    def send(kind: int, content: bytes) -> None:
        with writing, suppress(OSError):
            stream.write(_SHELL_HEADER.pack(kind, len(content)) + content)

    def forward(read: Callable[[int], bytes], kind: int) -> None:
        with suppress(OSError):
            while chunk := read(2**16):
                send(kind, chunk)

    stderr = process.stderr.fileno()
    readers = [
        threading.Thread(target=forward, args=(ours.recv, _STDOUT), daemon=True),
        threading.Thread(
            target=forward, args=(lambda size: os.read(stderr, size), _STDERR), daemon=True
        ),
    ]
    for reader in readers:
        reader.start()
    feeder = threading.Thread(target=_feed, args=(stream, ours, process.pid), daemon=True)
    feeder.start()
    for reader in readers:
        reader.join()
    send(_EXIT, bytes([process.wait() & 0xFF]))
    ours.close()


def _feed(stream: Stream, shell: socket.socket, pid: int) -> None:
    """Pass on what the client writes; where it is gone, the shell hears SIGHUP."""
    with suppress(OSError):
        while len(header := stream.read(_SHELL_HEADER.size)) == _SHELL_HEADER.size:
            kind, length = _SHELL_HEADER.unpack(header)
            content = stream.read(length)
            if kind == _STDIN:
                shell.sendall(content)
            elif kind == _CLOSE_STDIN:
                shell.shutdown(socket.SHUT_WR)
    with suppress(OSError):
        shell.shutdown(socket.SHUT_RDWR)
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGHUP)


def serve_sync(stream: Stream, root: Path, owner: int | None) -> None:
    """Send and receive files.

    Args:
        stream: The client.
        root: What is the device's ``/``.
        owner: Whom new files belong to; None for whoever runs this.
    """
    while len(header := stream.read(_SYNC_HEADER.size)) == _SYNC_HEADER.size:
        command, length = _SYNC_HEADER.unpack(header)
        if command == b"QUIT":
            return
        name = stream.read(length).decode()
        if command in (b"STA2", b"LST2"):
            stream.write(_stat_2(command, root / name.lstrip("/")))
        elif command == b"SEND":
            path, _, mode = name.rpartition(",")
            _receive(stream, root, path, int(mode), owner)
        elif command == b"RECV":
            _send(stream, root / name.lstrip("/"))
        else:
            stream.write(_failure(f"unknown command {command!r}"))


def _stat_2(command: bytes, path: Path) -> bytes:
    try:
        found = path.stat() if command == b"STA2" else path.lstat()
    except OSError as error:
        return _STAT_2.pack(command, error.errno or 0, *([0] * 10))
    return _STAT_2.pack(
        command, 0, found.st_dev, found.st_ino, found.st_mode, found.st_nlink, found.st_uid,
        found.st_gid, found.st_size, int(found.st_atime), int(found.st_mtime),
        int(found.st_ctime),
    )  # fmt: skip


def _receive(stream: Stream, root: Path, name: str, mode: int, owner: int | None) -> None:
    """Receive one file, making the folders on its way."""
    path = root / name.lstrip("/")
    error: OSError | None = None
    try:
        for folder in reversed(path.parents):
            if not folder.exists():
                folder.mkdir()
                _give(folder, owner)
        path.touch()
        _give(path, owner)
    except OSError as failed:
        error, path = failed, Path(os.devnull)
    with path.open("wb", buffering=0) as file:
        for content in _chunks(stream):
            try:
                file.write(content)
            except OSError as failed:
                error = error or failed
    if error is not None:
        stream.write(_failure(f"couldn't write: {error.strerror}"))
        return
    path.chmod(stat.S_IMODE(mode) | 0o600)
    stream.write(_SYNC_HEADER.pack(b"OKAY", 0))


def _chunks(stream: Stream) -> Iterator[bytes]:
    """Read a file's content.

    Raises:
        OSError: The client is gone before its end.
    """
    while len(header := stream.read(_SYNC_HEADER.size)) == _SYNC_HEADER.size:
        command, length = _SYNC_HEADER.unpack(header)
        if command == b"DONE":
            return
        content = stream.read(length)
        if len(content) < length:
            break
        yield content
    raise OSError("the client is gone")


def _send(stream: Stream, path: Path) -> None:
    try:
        content = path.read_bytes()
    except OSError as error:
        stream.write(_failure(str(error.strerror)))
        return
    for start in range(0, len(content), 2**16):
        chunk = content[start : start + 2**16]
        stream.write(_SYNC_HEADER.pack(b"DATA", len(chunk)) + chunk)
    stream.write(_SYNC_HEADER.pack(b"DONE", 0))


def _failure(reason: str) -> bytes:
    return _SYNC_HEADER.pack(b"FAIL", len(reason)) + reason.encode()


def _give(path: Path, owner: int | None) -> None:
    if owner is not None:
        os.chown(path, owner, owner)

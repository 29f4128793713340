"""How does a device do what a link must do, if all it has is a shell that is far away?

Clients differ (``ssh.py``, ``adb.py``); the shell does not. Every call is one script
(``scripts.py``) between two *marks*: what stands before the first is some login's greeting, and
where the second is missing, the link was cut.

Everything is kept in one folder of the device, its *root*: ``files`` by their hash, ``agents`` by
that of their archive, ``partial`` for what is on its way, ``runs`` for what a process works on.
What is on its way is checked there and then renamed: a name stands for whole content.
"""

import hashlib
import logging
import os
import re
import secrets
import selectors
import shlex
import socket
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from getpass import getuser
from pathlib import Path
from typing import BinaryIO, Protocol

from reefl_edge.devices.description import (
    DEVICE_STATE_COMMANDS,
    DEVICE_STATE_FILES,
    HOST_COMMANDS,
    HOST_FILES,
    device_state_in,
    host_in,
)
from reefl_edge.devices.host import Host
from reefl_edge.devices.links import scripts
from reefl_edge.devices.links.agents import START_NAME, AgentFor
from reefl_edge.devices.links.base import Finished
from reefl_edge.devices.links.client import as_file, end_client, run_client, start_client
from reefl_edge.devices.state import State
from reefl_edge.devices.system_files import SystemFiles
from reefl_edge.errors import DeviceError
from reefl_edge.files import replacing_file, sha256_of_file

# A call that moves no content; a phone may have to wake up for it.
_CALL_S = 60.0
# What a link carries at least, for how long a push or a pull may take: a slow uplink.
_BYTES_PER_S = 250_000
_MIB = 2**20
# How every shell's tools say it.
_FULL = "No space left on device"

_log = logging.getLogger(__name__)


class Client(Protocol):
    """A program that carries a command line to a device's shell."""

    @property
    def root(self) -> str:
        """Folder of the device to keep everything in; empty for the user's cache folder."""
        ...

    def shell(self, command: str) -> list[str]:
        """Return the argv that has a shell there run a command; standard streams are passed on."""
        ...

    def connection(self) -> AbstractContextManager[None]:
        """Keep one connection for all calls in the block, if that is any quicker.

        It is made by the first of them, which must last as long as the block.
        """
        ...

    def sending(self, here: Path, there: str) -> list[str] | None:
        """Return the argv that copies a file or a folder; None if the shell is to receive it."""
        ...

    def trouble(self, stderr: str) -> str:
        """Say in words what the client could not do; empty if it does not say."""
        ...


class ShellLink:
    """A device that is reached by a client.

    Args:
        name: The device's name, in reports and on the command line.
        client: What carries a shell's command lines there.
        agent_for: Gives what obeys jobs on a machine, by what ``uname -m`` calls it.
        is_real_hardware: Whether the device itself computes, not an emulation of it.
    """

    def __init__(
        self,
        name: str,
        client: Client,
        *,
        agent_for: AgentFor,
        is_real_hardware: bool = True,
    ) -> None:
        self.name = name
        self.is_real_hardware = is_real_hardware
        self._client = client
        self._agent_for = agent_for
        self._root: str | None = None
        self._python: str | None = None
        self._holder: subprocess.Popen[bytes] | None = None
        self._there: set[str] = set()

    @property
    def python(self) -> tuple[str, ...]:
        """How the agent there is started; see ``Link.python``."""
        if self._python is None:
            raise RuntimeError(f"{self.name} has an agent only while it is held")
        return ("sh", self._python)  # there may be no /bin/sh

    def describe(self) -> Host:
        """Describe the machine there; see ``Link.describe``."""
        files = self._told(HOST_FILES, HOST_COMMANDS)
        try:
            return host_in(files)
        except (KeyError, ValueError) as error:
            raise DeviceError(f"{self.name} is no Linux that we know: {error}") from error

    def state(self) -> State:
        """Tell how hot it is there; see ``Link.state``."""
        return device_state_in(self._told(DEVICE_STATE_FILES, DEVICE_STATE_COMMANDS))

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep the device to ourselves, with an agent on it; see ``Link.held``."""
        with self._locked():
            agent = self._agent_for(self._machine())
            folder = f"{self._root}/agents/{agent.sha256}"
            self._put(agent.archive, folder, scripts.SETTLE_ARCHIVE)
            self._python = f"{folder}/{START_NAME}"
            try:
                yield
            finally:
                self._python = None

    def push(self, path: Path, *, sha256: str) -> str:
        """Send a file or a folder, unless it is there; see ``Link.push``."""
        suffix = path.suffix if path.is_file() and path.suffix[1:].isalnum() else ""
        place = f"{self._root}/files/{sha256}{suffix}"
        self._put(path, place, scripts.SETTLE)
        return place

    def run(
        self, argv: Sequence[str], *, stdin: bytes = b"", timeout_s: float | None = None
    ) -> Finished:
        """Run a process there; see ``Link.run``."""
        folder = self._fresh("runs")
        with as_file(stdin) as content:
            self._do(scripts.PREPARE, folder, stdin=content, timeout_s=_seconds_for(len(stdin)))
        finished = self._converse(scripts.RUN, folder, *argv, timeout_s=timeout_s)
        # A shell says 128 and the signal.
        code = finished.exit_code
        return Finished(
            exit_code=128 - code if code > 128 else code,
            stdout=finished.stdout,
            stderr=finished.stderr,
        )

    def pull(self, there: str, here: Path) -> None:
        """Fetch a file; see ``Link.pull``."""
        with replacing_file(here) as partial:
            try:
                content = self._do(scripts.FETCH, there, timeout_s=None)
            except DeviceError as error:
                raise DeviceError(f"cannot fetch {there} from {error}") from error
            line, _, content = content.partition(b"\n")
            if line.split()[0].decode() != hashlib.sha256(content).hexdigest():
                raise DeviceError(f"{there} did not arrive whole from {self.name}")
            partial.write_bytes(content)

    @contextmanager
    def scratch(self) -> Iterator[str]:
        """Make a folder there; see ``Link.scratch``."""
        folder = self._fresh("runs")
        self._do(scripts.MAKE_FOLDER, folder)
        yield folder
        self._do(scripts.REMOVE, folder)

    def clean(self) -> None:
        """Remove all that was put there; see ``Link.clean``."""
        with self._locked():
            self._do(scripts.REMOVE, f"{self._root}/files", f"{self._root}/agents")

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the device's lock; the process there that does so ends with us."""
        with self._client.connection():
            argv = self._command(scripts.HOLD, self._client.root, _owner())[1]
            with start_client(argv, stdin=subprocess.PIPE) as holder:
                try:
                    self._root = self._await_lock(holder)
                    self._holder = holder
                    yield
                finally:
                    self._root = self._holder = None
                    self._there.clear()
                    assert holder.stdin is not None
                    holder.stdin.close()
                    end_client(holder)

    def _await_lock(self, holder: "subprocess.Popen[bytes]") -> str:
        """Wait until the device is ours; return where its root is.

        Raises:
            DeviceError: It is another's, or cannot be reached.
        """
        assert holder.stdout is not None
        assert holder.stderr is not None
        written = b""
        deadline = time.monotonic() + _CALL_S
        with selectors.DefaultSelector() as selector:
            selector.register(holder.stdout, selectors.EVENT_READ)
            while (held := re.search(rb"\n%b (.+)\n" % scripts.HELD.encode(), written)) is None:
                if not selector.select(max(0, deadline - time.monotonic())):
                    raise DeviceError(f"{self.name} does not answer")
                if not (chunk := os.read(holder.stdout.fileno(), 4096)):
                    raise self._not_held(written, holder.stderr.read())
                written += chunk
        return held[1].decode()

    def _not_held(self, written: bytes, stderr: bytes) -> DeviceError:
        ended = re.search(rb"\n(.*)\n\w+ (\d+)\n$", written, re.DOTALL)
        if ended is None:
            return self._cut(stderr)
        if int(ended[2]) == scripts.IS_HELD:
            owner = ended[1].decode(errors="replace") or "somebody"
            return DeviceError(f"{self.name} is at work for {owner}; one job at a time")
        return self._failed(stderr)

    def _put(self, path: Path, place: str, settle: str) -> None:
        """Send a file or a folder to its place, unless something is there."""
        if place in self._there:
            return
        aside = self._fresh("partial")
        room = self._do(scripts.FIND, place, aside).decode()
        if room:
            size = _size_of(path)
            self._check_room(size, _free_bytes(room))
            _log.info("sending %s to %s (%.1f MiB)", path, self.name, size / _MIB)
            self._send(path, f"{aside}/content", timeout_s=_seconds_for(size))
            with as_file(_sums(path).encode()) as sums:
                self._do(settle, aside, place, stdin=sums, timeout_s=_seconds_for(size))
        self._there.add(place)

    def _check_room(self, size: int, free: int) -> None:
        if size > free:
            raise DeviceError(
                f"no room on {self.name}: {size / _MIB:.0f} MiB to send, {free / _MIB:.0f} MiB "
                f"free in {self._root}{self._way_to_room}"
            )

    def _send(self, path: Path, there: str, *, timeout_s: float) -> None:
        argv = self._client.sending(path, there)
        if argv is not None:
            try:
                finished = run_client(argv, timeout_s=timeout_s)
            except TimeoutError as error:
                raise DeviceError(f"{self.name} does not answer: {error}") from error
            if finished.exit_code != 0:
                raise self._cut(finished.stdout + finished.stderr)
        elif path.is_dir():
            with tempfile.TemporaryFile() as archive:
                with tarfile.open(fileobj=archive, mode="w") as tar:
                    for name, file in _files_in(path):
                        tar.add(file, name, recursive=False)
                archive.seek(0)
                self._do(scripts.RECEIVE_FOLDER, there, stdin=archive, timeout_s=timeout_s)
        else:
            with path.open("rb") as content:
                self._do(scripts.RECEIVE_FILE, there, stdin=content, timeout_s=timeout_s)

    def _told(self, patterns: Sequence[str], commands: Sequence[str]) -> SystemFiles:
        """Return what stands in system files there, and what commands say."""
        mark = secrets.token_hex(8)
        told = self._do(scripts.TELL, mark, str(len(commands)), *commands, *patterns)
        parts = re.split(rf"^{mark}(.+)\n", told.decode(errors="replace"), flags=re.M)
        return {name: text.strip() for name, text in zip(parts[1::2], parts[2::2], strict=True)}

    def _machine(self) -> str:
        return self._do("uname -m").decode().strip()

    def _fresh(self, kind: str) -> str:
        return f"{self._root}/{kind}/{secrets.token_hex(8)}"

    def _do(
        self,
        script: str,
        *arguments: str,
        stdin: BinaryIO | None = None,
        timeout_s: float | None = _CALL_S,
    ) -> bytes:
        """Run a script to its good end; return what it printed.

        Raises:
            DeviceError: It failed, took too long, or the link was cut.
        """
        try:
            finished = self._converse(script, *arguments, stdin=stdin, timeout_s=timeout_s)
        except TimeoutError as error:
            raise DeviceError(f"{self.name} does not answer: {error}") from error
        if finished.exit_code != 0:
            raise self._failed(finished.stderr)
        return finished.stdout

    def _failed(self, stderr: bytes) -> DeviceError:
        """Return the error of a script that came to a bad end."""
        lines = stderr.decode(errors="replace").strip().splitlines()
        for line in lines:
            if _FULL in line:
                return DeviceError(f"no room on {self.name}: {line}{self._way_to_room}")
        reason = lines[-1] if lines else "it refuses, and does not say why"
        return DeviceError(f"{self.name}: {reason}")

    @property
    def _way_to_room(self) -> str:
        return f"; 'reefl-edge devices clean {self.name}' removes what was sent before"

    def _converse(
        self,
        script: str,
        *arguments: str,
        stdin: BinaryIO | None = None,
        timeout_s: float | None,
    ) -> Finished:
        """Run a script; return how it ended there.

        Raises:
            DeviceError: The link was cut, or there was none.
            TimeoutError: It took too long, and was ended.
        """
        if self._holder is not None and self._holder.poll() is not None:
            raise DeviceError(f"{self.name}: the link was cut")
        mark, argv = self._command(script, *arguments)
        ended = run_client(argv, stdin=stdin, timeout_s=timeout_s)
        between = re.search(
            rb"(?:^|\n)%b\n(.*)\n%b (\d+)\n" % (mark, mark), ended.stdout, re.DOTALL
        )
        if between is None:
            raise self._cut(ended.stderr)
        return Finished(exit_code=int(between[2]), stdout=between[1], stderr=ended.stderr)

    def _command(self, script: str, *arguments: str) -> tuple[bytes, list[str]]:
        """Return a new mark, and the argv of a client that has a script run between two."""
        mark = secrets.token_hex(8)
        marked = f'printf "%s\\n" "$0"\n({script}\n)\nprintf "\\n%s %s\\n" "$0" "$?"'
        command = shlex.join(["exec", "sh", "-c", marked, mark, *arguments])
        return mark.encode(), self._client.shell(command)

    def _cut(self, stderr: bytes) -> DeviceError:
        """Return the error of a client that did not come to its end."""
        trouble = self._client.trouble(stderr.decode(errors="replace"))
        return DeviceError(f"{self.name}: {trouble or 'the link was cut'}")


def _owner() -> str:
    started = time.strftime("%Y-%m-%d %H:%M:%S %Z")
    return f"{getuser()} on {socket.gethostname()}, process {os.getpid()} since {started}"


def _seconds_for(num_bytes: int) -> float:
    return _CALL_S + num_bytes / _BYTES_PER_S


def _free_bytes(table: str) -> int:
    """Read what ``df -Pk`` says of one file system."""
    return int(table.splitlines()[-1].split()[3]) * 1024


def _files_in(folder: Path) -> list[tuple[str, Path]]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return sorted((path.relative_to(folder).as_posix(), path) for path in files)


def _size_of(path: Path) -> int:
    files = [file for _, file in _files_in(path)] if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files)


def _sums(path: Path) -> str:
    """List the hashes of what is sent, as ``sha256sum`` checks them."""
    if path.is_file():
        return f"{sha256_of_file(path)}  content\n"
    return "".join(f"{sha256_of_file(file)}  content/{name}\n" for name, file in _files_in(path))

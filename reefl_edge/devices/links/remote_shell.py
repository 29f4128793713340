"""How does a script run on a device, and how is it known to have come to its end?

Clients differ (``ssh.py``, ``adb.py``); the shell does not. Every call is one script
(``scripts.py``) between two *marks*: what stands before the first is some login's greeting, and
where the second is missing, the link was cut.
"""

import os
import re
import secrets
import selectors
import shlex
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from getpass import getuser
from pathlib import Path
from typing import BinaryIO, Protocol

from reefl_edge.devices.links import scripts
from reefl_edge.devices.links.base import Finished
from reefl_edge.devices.links.client import end_client, run_client, start_client
from reefl_edge.devices.links.streams import OnLine
from reefl_edge.devices.system_files import SystemFiles
from reefl_edge.errors import DeviceError

# A call that moves no content; a phone may have to wake up for it.
CALL_S = 60.0
# How every shell's tools say it.
_FULL = "No space left on device"


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


class RemoteShell:
    """The shell of a device.

    Args:
        name: The device's name.
        client: What carries command lines there.
    """

    def __init__(self, name: str, client: Client) -> None:
        self.name = name
        self._client = client
        self._holder: subprocess.Popen[bytes] | None = None

    @contextmanager
    def held(self) -> Iterator[str]:
        """Hold the device's lock in the block; give the path of the root there.

        The process there that holds it ends with us.

        Raises:
            DeviceError: It is another's, who is named, or cannot be reached.
        """
        with self._client.connection():
            argv = self._command(scripts.HOLD, self._client.root, _owner())[1]
            with start_client(argv, stdin=subprocess.PIPE) as holder:
                try:
                    root = self._await_lock(holder)
                    self._holder = holder
                    yield root
                finally:
                    self._holder = None
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
        deadline = time.monotonic() + CALL_S
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
            return self.cut(stderr)
        if int(ended[2]) == scripts.IS_HELD:
            owner = ended[1].decode(errors="replace") or "somebody"
            return DeviceError(f"{self.name} is at work for {owner}; one job at a time")
        return self._failed(stderr)

    def do(
        self,
        script: str,
        *arguments: str,
        stdin: BinaryIO | None = None,
        timeout_s: float | None = CALL_S,
    ) -> bytes:
        """Run a script to its good end; return what it printed.

        Raises:
            DeviceError: It failed, took too long, or the link was cut.
        """
        try:
            finished = self.converse(script, *arguments, stdin=stdin, timeout_s=timeout_s)
        except TimeoutError as error:
            raise DeviceError(f"{self.name} does not answer: {error}") from error
        if finished.exit_code != 0:
            raise self._failed(finished.stderr)
        return finished.stdout

    def told(self, patterns: Sequence[str], commands: Sequence[str]) -> SystemFiles:
        """Return what stands in system files there, and what commands say.

        Args:
            patterns: Absolute paths, with the wildcards of a shell.
            commands: Commands without quotes.

        Raises:
            DeviceError: The device cannot be reached.
        """
        mark = secrets.token_hex(8)
        told = self.do(scripts.TELL, mark, str(len(commands)), *commands, *patterns)
        parts = re.split(rf"^{mark}(.+)\n", told.decode(errors="replace"), flags=re.M)
        return {name: text.strip() for name, text in zip(parts[1::2], parts[2::2], strict=True)}

    def _failed(self, stderr: bytes) -> DeviceError:
        """Return the error of a script that came to a bad end."""
        lines = stderr.decode(errors="replace").strip().splitlines()
        for line in lines:
            if _FULL in line:
                return DeviceError(f"no room on {self.name}: {line}{self.way_to_room}")
        reason = lines[-1] if lines else "it refuses, and does not say why"
        return DeviceError(f"{self.name}: {reason}")

    @property
    def way_to_room(self) -> str:
        """What a user can do where there is no room: the tail of a message."""
        return f"; 'reefl-edge devices clean {self.name}' removes what was sent before"

    def converse(
        self,
        script: str,
        *arguments: str,
        stdin: BinaryIO | None = None,
        timeout_s: float | None,
        silence_s: float | None = None,
        on_line: OnLine = lambda _: None,
    ) -> Finished:
        """Run a script; return how it ended there.

        Raises:
            DeviceError: The link was cut, or there was none.
            TimeoutError: It took too long, and was ended.
        """
        if self._holder is not None and self._holder.poll() is not None:
            raise DeviceError(f"{self.name}: the link was cut")
        mark, argv = self._command(script, *arguments)
        ended = run_client(
            argv, stdin=stdin, timeout_s=timeout_s, silence_s=silence_s, on_line=on_line
        )
        between = re.search(
            rb"(?:^|\n)%b\n(.*)\n%b (\d+)\n" % (mark, mark), ended.stdout, re.DOTALL
        )
        if between is None:
            raise self.cut(ended.stderr)
        return Finished(exit_code=int(between[2]), stdout=between[1], stderr=ended.stderr)

    def _command(self, script: str, *arguments: str) -> tuple[bytes, list[str]]:
        """Return a new mark, and the argv of a client that has a script run between two."""
        mark = secrets.token_hex(8)
        marked = f'printf "%s\\n" "$0"\n({script}\n)\nprintf "\\n%s %s\\n" "$0" "$?"'
        command = shlex.join(["exec", "sh", "-c", marked, mark, *arguments])
        return mark.encode(), self._client.shell(command)

    def cut(self, stderr: bytes) -> DeviceError:
        """Return the error of a client that did not come to its end."""
        trouble = self._client.trouble(stderr.decode(errors="replace"))
        return DeviceError(f"{self.name}: {trouble or 'the link was cut'}")


def _owner() -> str:
    started = time.strftime("%Y-%m-%d %H:%M:%S %Z")
    return f"{getuser()} on {socket.gethostname()}, process {os.getpid()} since {started}"

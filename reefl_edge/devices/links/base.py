"""What must a link to a device do?

A *link* is transport: it knows how to get files and processes to a device, and nothing of what they
are for. Turning a job into files and arguments, and what comes back into an outcome, happens above
all links (``jobs/running.py``).
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from reefl_edge.devices.host import Host
from reefl_edge.devices.links.streams import OnLine
from reefl_edge.devices.state import State


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """How a process ended, and what it left.

    Attributes:
        exit_code: What it answered; a negative number is the signal that killed it.
        stdout: What it wrote to its standard output.
        stderr: What it wrote to its standard error.
    """

    exit_code: int
    stdout: bytes
    stderr: bytes


class Link(Protocol):
    """A way to a device."""

    @property
    def name(self) -> str:
        """The device's name, in reports and on the command line."""
        ...

    @property
    def is_real_hardware(self) -> bool:
        """Whether the device itself computes, not an emulation of it."""
        ...

    @property
    def has_agent(self) -> bool:
        """Whether an agent obeys jobs there, which has onnxruntime and no PyTorch."""
        ...

    @property
    def python(self) -> tuple[str, ...]:
        """How a Python that can import ``reefl_edge`` is started there: the head of an argv.

        Only while the device is held.
        """
        ...

    def held(self) -> AbstractContextManager[None]:
        """Keep a device to ourselves in the block, with a Python that does our jobs.

        Files and processes are sent only then: two at work at once would measure each other.

        Raises:
            DeviceError: It is another's, who is named; it cannot be reached, or has no room; or no
                Python of ours runs on it.
        """
        ...

    def describe(self) -> Host:
        """Describe the machine that processes run on.

        Raises:
            DeviceError: The device cannot be reached.
        """
        ...

    def state(self) -> State:
        """Tell how hot it is there now, and what feeds it.

        Raises:
            DeviceError: The device cannot be reached.
        """
        ...

    def push(
        self,
        path: Path,
        *,
        sha256: str,
        into: str | None = None,
        before_sending: Callable[[], None] = lambda: None,
    ) -> str:
        """Put a file or a folder there; what is there already is not sent again.

        Args:
            path: Where it lies here.
            sha256: What names its content: the hash of a file, or of the file that lists the hashes
                of all others in a folder.
            into: Folder there, of ``scratch``, that it is to go with; None to keep it for whoever
                needs it next.
            before_sending: Called where it is sent, not where it is there already: to see that
                content and name agree, which nobody can mend there.

        Returns:
            Where it lies there.

        Raises:
            DeviceError: The device cannot be reached, or has no room.
        """
        ...

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        timeout_s: float | None = None,
        silence_s: float | None = None,
        on_line: OnLine = lambda _: None,
    ) -> Finished:
        """Run a process there to its end; it does not outlive whoever asked for it.

        Args:
            argv: The program and its arguments; no shell reads them.
            stdin: What it finds on its standard input.
            timeout_s: How long it may take; None for any time.
            silence_s: How long it may write nothing; None for any time.
            on_line: Called with every line of its standard error, as it comes.

        Raises:
            DeviceError: The device cannot be reached, or there is no such program.
            TimeoutError: It took longer, and was killed.
        """
        ...

    def pull(self, there: str, here: Path) -> None:
        """Fetch a file, whole or not at all.

        Args:
            there: Where it lies there.
            here: Where it goes; what stands there is replaced.

        Raises:
            DeviceError: The device cannot be reached, or has no such file.
        """
        ...

    def scratch(self) -> AbstractContextManager[str]:
        """Make a folder there that is gone after the block.

        Raises:
            DeviceError: The device cannot be reached.
        """
        ...

    def clean(self) -> None:
        """Remove all that was ever put there; not while the device is held.

        Raises:
            DeviceError: The device cannot be reached.
        """
        ...

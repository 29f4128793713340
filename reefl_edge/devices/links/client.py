"""How does a client program, such as ssh or adb, run on this machine, and end with us?

Its standard input is a file, or a pipe that nobody writes to: a *lifeline*, whose end tells the
other side of the link that we are gone, however that came about.
"""

import os
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from typing import BinaryIO

from reefl_edge.devices.links.base import Finished
from reefl_edge.devices.links.streams import OnLine, collect
from reefl_edge.errors import MissingToolchainError

# How long the other side may take to end what it runs, once it hears that nobody waits for it.
_GRACE_S = 10.0

# Where Debian has the clients.
_PACKAGES = {"adb": "adb", "ssh": "openssh-client"}


def run_client(
    argv: Sequence[str],
    *,
    stdin: BinaryIO | None = None,
    timeout_s: float | None,
    silence_s: float | None = None,
    on_line: OnLine = lambda _: None,
) -> Finished:
    """Run a client to its end.

    Args:
        argv: The program and its arguments.
        stdin: A file for its standard input; None for a lifeline.
        timeout_s: How long it may take; None for any time.
        silence_s: How long it may write nothing; None for any time.
        on_line: Called with every line of its standard error.

    Raises:
        MissingToolchainError: The program is not installed.
        TimeoutError: It took longer, and was ended.
    """
    their_end, our_end = os.pipe()
    try:
        with start_client(argv, stdin=their_end if stdin is None else stdin.fileno()) as process:
            try:
                stdout, stderr = collect(
                    process, timeout_s=timeout_s, silence_s=silence_s, on_line=on_line
                )
            finally:
                os.close(our_end)
                our_end = -1
                end_client(process)
    finally:
        os.close(their_end)
        if our_end >= 0:
            os.close(our_end)
    return Finished(exit_code=process.returncode, stdout=stdout, stderr=stderr)


def start_client(argv: Sequence[str], *, stdin: int) -> subprocess.Popen[bytes]:
    """Start a client; Ctrl-C on a terminal goes to us alone, and we end it in order.

    Raises:
        MissingToolchainError: The program is not installed.
    """
    try:
        return subprocess.Popen(
            argv,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            process_group=0,
        )
    except FileNotFoundError as error:
        raise missing_client(argv[0]) from error


def missing_client(program: str) -> MissingToolchainError:
    """Return the error of a client that is not installed."""
    return MissingToolchainError(
        f"this device is reached by {program}, which is not installed here; "
        f"install it (Debian: apt install {_PACKAGES.get(program, program)})"
    )


def end_client(process: "subprocess.Popen[bytes]") -> None:
    """End a client whose standard input has ended: in order if it comes to that, else at once."""
    try:
        with suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE_S)
    finally:
        process.kill()


def as_file(content: bytes) -> BinaryIO:
    """Return bytes as an open file that a client can have for its standard input."""
    file = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
    file.write(content)
    file.seek(0)
    return file

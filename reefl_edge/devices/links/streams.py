"""What does a process write until it ends, and is it still at work?"""

import os
import selectors
import subprocess
import time
from collections.abc import Callable
from math import inf

OnLine = Callable[[str], object]


def collect(
    process: "subprocess.Popen[bytes]",
    *,
    timeout_s: float | None,
    silence_s: float | None,
    on_line: OnLine,
) -> tuple[bytes, bytes]:
    """Read standard output and standard error of a process to their end, and wait for its own.

    Args:
        process: Both are pipes.
        timeout_s: How long it may take; None for any time.
        silence_s: How long it may write nothing; None for any time.
        on_line: Called with every line of standard error, as soon as it is whole.

    Raises:
        TimeoutError: It took longer, and runs on.
    """
    assert process.stdout is not None
    assert process.stderr is not None
    stdout, stderr, num_seen = bytearray(), bytearray(), 0
    end = _after(timeout_s)
    silence_end = _after(silence_s)
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ, stdout)
        selector.register(process.stderr, selectors.EVENT_READ, stderr)
        while selector.get_map() and time.monotonic() < end:
            if time.monotonic() >= silence_end:
                raise TimeoutError(f"{_program(process)} wrote nothing for {silence_s:g} s")
            for key, _ in selector.select(_until(min(end, silence_end))):
                chunk = os.read(key.fd, 2**16)
                key.data.extend(chunk)
                if not chunk:
                    selector.unregister(key.fileobj)
                silence_end = _after(silence_s)
            while (line_end := stderr.find(b"\n", num_seen)) >= 0:
                on_line(stderr[num_seen:line_end].decode(errors="replace"))
                num_seen = line_end + 1
    try:
        process.wait(_until(end))
    except subprocess.TimeoutExpired as error:
        raise TimeoutError(f"{_program(process)} took longer than {timeout_s:g} s") from error
    return bytes(stdout), bytes(stderr)


def _after(seconds: float | None) -> float:
    return inf if seconds is None else time.monotonic() + seconds


def _until(end: float) -> float | None:
    return None if end == inf else max(0.0, end - time.monotonic())


def _program(process: "subprocess.Popen[bytes]") -> str:
    assert not isinstance(process.args, (str, bytes, os.PathLike))
    return str(next(iter(process.args)))

"""How does a process end when whoever started it is gone, even by SIGKILL?

The *lifeline* is a pipe that nobody writes to and whose write end only the parent holds: its end is
the parent's. The child finds its own end in a variable of its environment (``VARIABLE``), so that
its arguments are the same however it was started. Linux is asked for a signal instead, so that
nothing waits in a process that measures; elsewhere a thread waits for the pipe's end.
"""

import ctypes
import os
import select
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

VARIABLE = "REEFL_EDGE_LIFELINE"

# Source: prctl(2), linux/prctl.h.
_PR_SET_PDEATHSIG = 1


@contextmanager
def lifeline() -> Iterator[int]:
    """Give the end of a lifeline that a child is to inherit, while the block runs."""
    child_end, parent_end = os.pipe()
    try:
        yield child_end
    finally:
        os.close(child_end)
        os.close(parent_end)


def obey_lifeline() -> None:
    """End this process as soon as its parent is gone, if it was given a lifeline."""
    child_end = os.environ.pop(VARIABLE, None)
    if child_end is not None:
        die_with_parent(int(child_end))


def die_with_parent(child_end: int) -> None:
    """End this process as soon as its parent is gone.

    Args:
        child_end: The inherited end of the parent's lifeline.
    """
    if sys.platform != "linux" or not die_by_signal(child_end):
        die_by_pipe(child_end)


def die_by_signal(child_end: int) -> bool:
    """Let the system kill this process when its parent is gone; tell whether it will (Linux).

    The signal comes when the *thread* that started this process ends, so it has to wait for it.
    """
    libc = ctypes.CDLL(None)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:  # a sandbox may forbid it
        return False
    if select.select([child_end], [], [], 0)[0]:  # the parent was gone before we asked
        _end()
    return True


def die_by_pipe(child_end: int) -> None:
    """Wait in a thread for the lifeline's end, and end this process then."""

    def wait() -> None:
        os.read(child_end, 1)
        _end()

    threading.Thread(target=wait, daemon=True).start()


def _end() -> None:
    """End at once: nobody is left to hear why, and nothing here needs to be tidied up."""
    os._exit(1)

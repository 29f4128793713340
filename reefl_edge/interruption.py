"""How does somebody stop a command from outside, and what does it answer?

Ctrl-C raises ``KeyboardInterrupt``; so does SIGTERM here, as a kind of its own, so that both unwind
what is going on the same way: partial files go, processes that were started end.
"""

import signal
import sys
from types import FrameType

INTERRUPTED = 130
TERMINATED = 143


class Terminated(KeyboardInterrupt):
    """The process was asked to end (SIGTERM)."""


def raise_on_sigterm() -> None:
    """Let SIGTERM raise ``Terminated`` in the main thread; once, for a second one kills."""

    def terminate(_signal: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        raise Terminated

    signal.signal(signal.SIGTERM, terminate)


def answer(interrupt: KeyboardInterrupt) -> int:
    """Say in one line on stderr that the work was stopped; return the exit code for it."""
    is_terminated = isinstance(interrupt, Terminated)
    what = "terminated" if is_terminated else "interrupted"
    sys.stderr.write(f"error: {what}; nothing was left half-written\n")
    return TERMINATED if is_terminated else INTERRUPTED

"""How does somebody stop a command from outside, and what does it answer?

Ctrl-C raises ``KeyboardInterrupt``; so does SIGTERM here, as a kind of its own, so that both unwind
what is going on the same way: partial files go, processes that were started end. On its way through
other people's code an interrupt may become something else (an extension module that is just being
loaded makes an ``ImportError`` of it): it stays *unanswered* until ``answer``.
"""

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

INTERRUPTED = 130
TERMINATED = 143

_unanswered: list[KeyboardInterrupt] = []


class Terminated(KeyboardInterrupt):
    """The process was asked to end (SIGTERM)."""


def listen() -> None:
    """Let SIGTERM raise ``Terminated`` in the main thread, once: a second one kills.

    Ctrl-C is listened to as well, unless whoever started this process lets it ignore that.
    """
    signal.signal(signal.SIGTERM, _raise_terminated)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _raise_interrupted)


@contextmanager
def held_back() -> Iterator[None]:
    """Let the block come to its end before Ctrl-C or SIGTERM is answered; a second one is at once.

    Outside the main thread nothing is held back: no signal is answered there.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    answers: dict[int, Callable[[int, FrameType | None], object]] = {
        number: before
        for number in (signal.SIGINT, signal.SIGTERM)
        if callable(before := signal.getsignal(number))
    }
    waiting: list[tuple[int, FrameType | None]] = []

    def hold_back(number: int, frame: FrameType | None) -> None:
        waiting.append((number, frame))
        if len(waiting) > 1:
            put_back()
            answers[number](number, frame)

    def put_back() -> None:
        for number, before in answers.items():
            if signal.getsignal(number) is hold_back:
                signal.signal(number, before)

    for number in answers:
        signal.signal(number, hold_back)
    try:
        yield
    finally:
        put_back()
    for number, frame in waiting:
        answers[number](number, frame)


def _raise_terminated(_signal: int, _frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _unanswered.append(Terminated())
    raise _unanswered[-1]


def _raise_interrupted(_signal: int, _frame: FrameType | None) -> None:
    _unanswered.append(KeyboardInterrupt())
    raise _unanswered[-1]


def behind(error: BaseException) -> KeyboardInterrupt | None:
    """Return the interrupt that ended the work with an error; None if it was not one.

    Work that came to its end in spite of an interrupt was not ended by it.
    """
    if isinstance(error, KeyboardInterrupt):
        return error
    if not _unanswered or (isinstance(error, SystemExit) and not error.code):
        return None
    return _unanswered[-1]


def answer(interrupt: KeyboardInterrupt) -> int:
    """Say in one line on stderr that the work was stopped; return the exit code for it."""
    _unanswered.clear()
    is_terminated = isinstance(interrupt, Terminated)
    what = "terminated" if is_terminated else "interrupted"
    sys.stderr.write(f"error: {what}; nothing was left half-written\n")
    return TERMINATED if is_terminated else INTERRUPTED

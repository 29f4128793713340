"""How does a worker say how far it is, and that it is still at work?

By a line on standard error, now and then: ``progress 3 of 100``. Whoever waits for it takes long
silence for a process that hangs.
"""

import re
import sys
import time
from collections.abc import Callable

OnProgress = Callable[[int, int], object]

_LINE = re.compile(r"progress (\d+) of (\d+)")
# Reading more lines than a bar can show would only take time from whatever is done.
_PAUSE_S = 0.2


class Telling:
    """Tells how far this process is."""

    def __init__(self) -> None:
        self._told_at = 0.0

    def tell(self, done: int, total: int) -> None:
        """Tell how many of how many steps are done, unless that was told just now."""
        now = time.monotonic()
        if done == total or now - self._told_at >= _PAUSE_S:
            self._told_at = now
            print(f"progress {done} of {total}", file=sys.stderr, flush=True)


def is_progress(line: str) -> bool:
    """Tell whether a line says how far a worker is, and nothing else."""
    return _LINE.fullmatch(line) is not None


def told_to(on_progress: OnProgress) -> Callable[[str], object]:
    """Return what takes a worker's lines, and calls ``on_progress`` with what they say of steps."""

    def take(line: str) -> None:
        if (told := _LINE.fullmatch(line)) is not None:
            on_progress(int(told[1]), int(told[2]))

    return take

"""Real processes, found and waited for; every wait ends after a minute."""

import time
from collections.abc import Iterator
from contextlib import suppress

import psutil

from reefl_edge.jobs.running import WORKER


def worker_of(parent: psutil.Process) -> psutil.Process:
    """Wait until a process has started its measuring process."""
    for _ in _moments():
        for child in parent.children():
            with suppress(psutil.NoSuchProcess):  # others come and go: Python asks ``uname``
                if WORKER in child.cmdline():
                    return child
    raise AssertionError("no measuring process was started")


def is_gone(process: psutil.Process) -> bool:
    """Wait until a process has ended; tell whether it has, and end it if not."""
    for _ in _moments():
        # Where nobody collects orphans, one that has ended stays as a zombie.
        if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
            return True
    process.kill()
    return False


def _moments() -> Iterator[None]:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        yield
        time.sleep(0.01)

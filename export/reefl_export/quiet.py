"""How is what a vendor's toolchain says along the way kept from the user?

Toolchains warn of releases they have not been tested with, of parts that this machine lacks and of
their own deprecated calls, and draw progress bars. Errors are raised as ever.
"""

import gc
import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr


@contextmanager
def quiet(*loggers: str) -> Iterator[None]:
    """Drop all Python warnings, and those that the named loggers give, while the block runs."""
    levels = {logger: logger.level for logger in map(logging.getLogger, loggers)}
    for logger in levels:
        logger.setLevel(logging.ERROR)
    # What the collector finds later may warn, so it goes here; it does not look through what was
    # there before, torch's hundreds of thousands of objects above all, which takes half a second.
    gc.freeze()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
            gc.collect()  # temporary folders, for one
    finally:
        gc.unfreeze()
        for logger, level in levels.items():
            logger.setLevel(level)


def without_progress_bars() -> redirect_stderr[io.StringIO]:
    """Drop what Python code writes to stderr while the block runs.

    Not for a block that imports packages: the loggers they set up keep the stream they find.
    """
    return redirect_stderr(io.StringIO())

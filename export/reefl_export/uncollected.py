"""How is the garbage collector kept from walks through what is all in use?

A conversion makes hundreds of thousands of nodes, beside torch's own objects; looking through them
all takes half a second, in whatever precision it happens to fall.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """Leave what nobody uses any more uncollected while the block runs."""
    had_collector = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if had_collector:
            gc.enable()

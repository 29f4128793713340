"""How is the garbage of a conversion collected, without walks through what is all in use?

A conversion makes hundreds of thousands of nodes, beside torch's own objects; looking through those
takes half a second each time. Left uncollected, what its passes leave behind holds weights.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def own_garbage() -> Iterator[None]:
    """Collect what the block leaves behind; the collector looks at nothing older meanwhile."""
    gc.freeze()
    try:
        yield
    finally:
        gc.collect()
        gc.unfreeze()

"""How far did training move the arrays that it started from?"""

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from reefl_edge.array_files.safetensors import Arrays


def movements(arrays: Arrays, start: Arrays) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Yield the name of every array, and what training added to it.

    Args:
        arrays: The arrays after training.
        start: What they were before it, and perhaps others.
    """
    for name, array in arrays.items():
        with np.errstate(over="ignore"):  # what is too far for a float32 is infinitely far
            movement = array - start[name]
        yield name, movement


def norm(arrays: Iterable[NDArray[np.float32]]) -> float:
    """Return the Euclidean length of all arrays taken together as one vector.

    >>> norm([np.full((2, 2), 2.0, np.float32), np.float32([3.0])])
    5.0
    """
    # Converted as it goes: a float64 copy of the largest array would be half an update.
    flat = (array.reshape(-1) for array in arrays)
    squares = (float(np.einsum("i,i->", each, each, dtype=np.float64)) for each in flat)
    return float(np.sqrt(sum(squares)))

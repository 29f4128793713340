"""How far did training move the arrays that it started from?"""

import numpy as np

from reefl_edge.array_files.safetensors import Arrays


def movement(arrays: Arrays, start: Arrays) -> Arrays:
    """Return what training added to every array.

    Args:
        arrays: The arrays after training.
        start: What they were before it, and perhaps others.
    """
    with np.errstate(over="ignore"):  # what is too far for a float32 is infinitely far
        return {name: array - start[name] for name, array in arrays.items()}


def norm(arrays: Arrays) -> float:
    """Return the Euclidean length of all arrays taken together as one vector.

    >>> norm({"a": np.full((2, 2), 2.0, np.float32), "b": np.float32([3.0])})
    5.0
    """
    flat = (array.ravel().astype(np.float64) for array in arrays.values())
    return float(np.sqrt(sum(float(each @ each) for each in flat)))

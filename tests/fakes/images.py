"""Images of noise."""

import numpy as np
from numpy.typing import NDArray


def random_images(count: int, *, edge: int = 16, seed: int = 0) -> NDArray[np.uint8]:
    """Return 8-bit images of noise, (count, edge, edge, 3)."""
    return np.random.default_rng(seed).integers(0, 256, (count, edge, edge, 3), dtype=np.uint8)

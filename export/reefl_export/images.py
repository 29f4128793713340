"""On which images is an export calibrated and compared?"""

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reefl_edge.submodel import Submodel

NUM_NOISE_IMAGES = 16


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NamedImages:
    """Images, and what they are.

    Attributes:
        name: What they are, for reports.
        pixels: uint8, (N, H, W, 3).
    """

    name: str
    pixels: NDArray[np.uint8]

    def __post_init__(self) -> None:
        if self.pixels.dtype != np.uint8 or self.pixels.ndim != 4 or not len(self.pixels):
            raise ValueError(
                f"images must be uint8 (N, H, W, 3), got {self.pixels.dtype} {self.pixels.shape}"
            )

    def fits(self, submodel: Submodel) -> None:
        """Hold the images to a model's size.

        Raises:
            ValueError: They are of another.
        """
        edge = submodel.architecture.image_size
        if self.pixels.shape[1:] != (edge, edge, 3):
            raise ValueError(
                f"the images of {self.name} are {self.pixels.shape[1:]}, "
                f"but the model takes ({edge}, {edge}, 3)"
            )

    def sha256(self) -> str:
        """Return a hash of the images."""
        digest = hashlib.sha256(str(self.pixels.shape).encode())
        digest.update(np.ascontiguousarray(self.pixels).data)
        return digest.hexdigest()


def noise(submodel: Submodel) -> NamedImages:
    """Return random images of the model's size, always the same ones."""
    edge = submodel.architecture.image_size
    generator = np.random.default_rng(0)
    shape = (NUM_NOISE_IMAGES, edge, edge, 3)
    return NamedImages(name="noise", pixels=generator.integers(0, 256, shape, dtype=np.uint8))

"""On which images is an export calibrated and compared?"""

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reefl_edge.submodel import Submodel

NUM_NOISE_IMAGES = 16


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sample:
    """Images, and what they are.

    Attributes:
        name: What they are, for reports.
        images: uint8, (N, H, W, 3).
    """

    name: str
    images: NDArray[np.uint8]

    def __post_init__(self) -> None:
        if self.images.dtype != np.uint8 or self.images.ndim != 4 or not len(self.images):
            raise ValueError(
                f"images must be uint8 (N, H, W, 3), got {self.images.dtype} {self.images.shape}"
            )

    def fits(self, submodel: Submodel) -> None:
        """Hold the images to a model's size.

        Raises:
            ValueError: They are of another.
        """
        edge = submodel.architecture.image_size
        if self.images.shape[1:] != (edge, edge, 3):
            raise ValueError(
                f"the images of {self.name} are {self.images.shape[1:]}, "
                f"but the model takes ({edge}, {edge}, 3)"
            )

    def sha256(self) -> str:
        """Return a hash of the images."""
        digest = hashlib.sha256(str(self.images.shape).encode())
        digest.update(np.ascontiguousarray(self.images).data)
        return digest.hexdigest()


def noise(submodel: Submodel) -> Sample:
    """Return random images of the model's size, always the same ones."""
    edge = submodel.architecture.image_size
    generator = np.random.default_rng(0)
    shape = (NUM_NOISE_IMAGES, edge, edge, 3)
    return Sample(name="noise", images=generator.integers(0, 256, shape, dtype=np.uint8))

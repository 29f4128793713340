"""How are training images varied at random?

As the paper's experiments do: a random part of the image, of random shape, enlarged to the model's
size, and for photographs a mirror image half of the time. Works on 8-bit images as they are
stored, before they are enlarged.

Letters: B batch, H and W size of a stored image, S the model's image size.
Source: torchvision's RandomResizedCrop (ten attempts, aspect ratio 3/4 to 4/3 on a log scale);
royson/reefl 61b18c1 for the smallest parts.
"""

import math
from collections.abc import Sequence
from typing import Literal, assert_never, get_args

import numpy as np

from reefl_edge.data.dataset import Images
from reefl_edge.data.images import resize

# crop: as for FEMNIST, whose characters have a left and a right; crop-flip: as for CIFAR.
Augmentation = Literal["none", "crop", "crop-flip"]
AUGMENTATIONS: tuple[Augmentation, ...] = get_args(Augmentation)

SMALLEST_CROP = 0.05
SMALLEST_CROP_WITH_FLIP = 0.08
_ATTEMPTS = 10
_WIDEST = 4 / 3


def augment(
    originals: Sequence[Images],
    image_size: int,
    augmentation: Augmentation,
    generator: np.random.Generator,
) -> Images:
    """Vary images and bring them to the model's size.

    Args:
        originals: 8-bit RGB images as they are stored, each (H, W, 3).
        image_size: The model's image size S.
        augmentation: What may happen to an image.
        generator: Decides what does.

    Returns:
        8-bit RGB, (B, S, S, 3).
    """
    match augmentation:
        case "none":
            varied = list(originals)
        case "crop":
            varied = [random_crop(image, SMALLEST_CROP, generator) for image in originals]
        case "crop-flip":
            varied = [
                random_flip(random_crop(image, SMALLEST_CROP_WITH_FLIP, generator), generator)
                for image in originals
            ]
        case _:
            assert_never(augmentation)
    return np.concatenate([resize(image[None], image_size) for image in varied])


def random_crop(image: Images, smallest: float, generator: np.random.Generator) -> Images:
    """Cut a random part out of an image (H, W, 3), of at least ``smallest`` of its area."""
    height, width = image.shape[:2]
    for _ in range(_ATTEMPTS):
        area = height * width * generator.uniform(smallest, 1)
        aspect = math.exp(generator.uniform(-math.log(_WIDEST), math.log(_WIDEST)))
        rows, columns = round(math.sqrt(area / aspect)), round(math.sqrt(area * aspect))
        if 0 < rows <= height and 0 < columns <= width:
            top = generator.integers(0, height - rows, endpoint=True)
            left = generator.integers(0, width - columns, endpoint=True)
            return image[top : top + rows, left : left + columns]
    return _centre_crop(image)


def random_flip(image: Images, generator: np.random.Generator) -> Images:
    """Mirror an image (H, W, 3) left to right, half of the time."""
    return np.ascontiguousarray(image[:, ::-1]) if generator.random() < 0.5 else image


def _centre_crop(image: Images) -> Images:
    """Cut the middle out of an image too long for a random part, as large as the aspects allow."""
    height, width = image.shape[:2]
    rows, columns = min(height, round(width * _WIDEST)), min(width, round(height * _WIDEST))
    top, left = (height - rows) // 2, (width - columns) // 2
    return image[top : top + rows, left : left + columns]

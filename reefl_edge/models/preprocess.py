"""How do 8-bit pixels become what the network reads?

The same few operations run in the trainer, in the eager runtime and inside segment 0 of every
exported chain, so that everything deployed is fed 8-bit RGB.
"""

import torch
from torch import Tensor

from reefl_edge.data.dataset import Images
from reefl_edge.submodel import Architecture


def normalise(
    pixels: Tensor, mean: tuple[float, float, float], std: tuple[float, float, float]
) -> Tensor:
    """Scale and normalise 8-bit RGB.

    Args:
        pixels: uint8, (B, H, W, 3).
        mean: Mean of each channel, of pixels scaled to [0, 1].
        std: Standard deviation of each channel, of pixels scaled to [0, 1].

    Returns:
        float32, (B, 3, H, W).
    """
    # (x / 255 - mean) / std as one multiplication and one addition.
    scale = torch.tensor([1 / (255 * s) for s in std], device=pixels.device)
    offset = torch.tensor([-m / s for m, s in zip(mean, std, strict=True)], device=pixels.device)
    return (pixels.float() * scale + offset).permute(0, 3, 1, 2)


def network_input(
    images: Images, architecture: Architecture, *, torch_device: str | torch.device = "cpu"
) -> Tensor:
    """Normalise 8-bit images (B, H, W, 3) for a network, to (B, 3, H, W).

    Raises:
        ValueError: They are not of the network's size.
    """
    size = architecture.image_size
    if images.shape[1:] != (size, size, 3):
        raise ValueError(f"the network reads images of {(size, size, 3)}, got {images.shape[1:]}")
    pixels = torch.from_numpy(images).to(torch_device)
    return normalise(pixels, architecture.mean, architecture.std)

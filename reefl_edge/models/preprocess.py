"""How do 8-bit pixels become what the network reads?

The same few operations run in the trainer, in the eager runtime and inside segment 0 of every
exported chain, so that everything deployed is fed 8-bit RGB.
"""

import torch
from torch import Tensor


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
    scale = torch.tensor([1 / (255 * s) for s in std])
    offset = torch.tensor([-m / s for m, s in zip(mean, std, strict=True)])
    return (pixels.float() * scale + offset).permute(0, 3, 1, 2)

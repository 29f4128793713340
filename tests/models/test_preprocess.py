"""Are pixels normalised as their architecture says?"""

import torch

from reefl_edge.models.preprocess import normalise


def test_pixels_are_scaled_shifted_and_put_channels_first() -> None:
    pixels = torch.tensor([[[[0, 51, 255]], [[255, 0, 102]]]], dtype=torch.uint8)  # (1, 2, 1, 3)

    normal = normalise(pixels, (0.5, 0.4, 0.0), (0.5, 0.2, 1.0))

    assert normal.dtype == torch.float32
    assert normal.shape == (1, 3, 2, 1)
    expected = torch.tensor([[-1.0, 1.0], [-1.0, -2.0], [1.0, 0.4]])
    torch.testing.assert_close(normal[0, :, :, 0], expected)

"""A position embedding fits another image size as timm's would."""

import numpy as np
import torch
from torch.nn import functional

from reefl_edge.checkpoints.foreign.positions import interpolate

EMBEDDING = np.random.default_rng(0).normal(size=(1, 1 + 16, 6)).astype(np.float32)


def test_the_same_size_changes_nothing() -> None:
    assert np.array_equal(interpolate(EMBEDDING, num_tokens=17), EMBEDDING)


def test_patches_are_resized_as_an_image_and_the_class_token_stays() -> None:
    for edge in (2, 3, 7):
        resized = interpolate(EMBEDDING, num_tokens=1 + edge * edge)

        # The grid of each channel on its own, written out.
        for channel in range(6):
            image = torch.from_numpy(EMBEDDING[0, 1:, channel].reshape(1, 1, 4, 4))
            expected = functional.interpolate(
                image, size=(edge, edge), mode="bicubic", antialias=True
            )
            np.testing.assert_allclose(
                resized[0, 1:, channel].reshape(edge, edge), expected[0, 0].numpy(), atol=1e-6
            )
        assert np.array_equal(resized[:, 0], EMBEDDING[:, 0])


def test_a_constant_embedding_stays_constant() -> None:
    constant = np.full((1, 1 + 196, 3), 0.5, np.float32)

    np.testing.assert_allclose(interpolate(constant, num_tokens=1 + 64), 0.5, atol=1e-6)

"""Does training from scratch learn, the same way for the same seed?"""

from dataclasses import replace

import numpy as np
import pytest
import torch

from reefl_edge.data.dataset import ArrayDataset
from reefl_edge.demo.pretrain import draw_weights, pretrain, shift, weighted_loss
from reefl_edge.finetune.evaluate import accuracy, checkpoint_logits
from reefl_edge.models import ReeFL
from reefl_edge.models.arrays import arrays_of, random_network
from tests.fakes.images import random_images
from tests.fakes.networks import checkpoint_of
from tests.fakes.submodels import tiny_submodel


def fresh_network() -> ReeFL:
    return random_network(tiny_submodel(), seed=0)


def coloured_images(count: int) -> ArrayDataset:
    """Three classes, red, green and blue, under noise."""
    images = random_images(count, seed=1) // 4
    labels = np.arange(count) % 3
    images[np.arange(count), :, :, labels] += 150
    return ArrayDataset(images, labels, ("red", "green", "blue"), 16)


def test_every_exit_learns_what_can_be_learned() -> None:
    network, dataset = fresh_network(), coloured_images(24)

    pretrain(network, dataset, epochs=8, batch_size=8, learning_rate=3e-3)

    unseen = coloured_images(36).subset(np.arange(24, 36))
    assert accuracy(checkpoint_logits(checkpoint_of(network), unseen), unseen.labels).tolist() == [
        1.0,
        1.0,
    ]


def test_seed_decides_everything(tiny_dataset: ArrayDataset) -> None:
    def trained(seed: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        network = fresh_network()
        pretrain(network, tiny_dataset, epochs=2, batch_size=4, seed=seed)
        return arrays_of(network)["blocks.0.attn.qkv.weight"]

    assert np.array_equal(trained(1), trained(1))
    assert not np.array_equal(trained(1), trained(2))


def test_steps_are_reported(tiny_dataset: ArrayDataset) -> None:
    seen: list[tuple[int, int]] = []

    pretrain(
        fresh_network(),
        tiny_dataset,
        epochs=2,
        batch_size=6,
        on_step=lambda *at: seen.append(at),
    )

    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_frozen_network_is_refused(tiny_dataset: ArrayDataset) -> None:
    network = random_network(replace(tiny_submodel(), regime="frozen"), seed=0)
    with pytest.raises(ValueError, match="regime 'frozen' does not train from scratch"):
        pretrain(network, tiny_dataset)


def test_training_for_no_epoch_is_refused(tiny_dataset: ArrayDataset) -> None:
    with pytest.raises(ValueError, match="epochs must be at least 1, got 0"):
        pretrain(fresh_network(), tiny_dataset, epochs=0)


def test_deeper_exits_count_for_more() -> None:
    # Equal logits of three classes: every exit loses log(3); weights 1/16, 1/4 and 1.
    loss = weighted_loss(torch.zeros(3, 2, 3), torch.tensor([0, 1]))
    torch.testing.assert_close(loss, (1 + 0.25 + 0.0625) * torch.tensor(3.0).log())


def test_weights_are_drawn_as_wide_as_their_layer_asks() -> None:
    network = fresh_network()
    before = arrays_of(network)["cls_token"].copy()

    draw_weights(network, seed=0)

    weight = arrays_of(network)["blocks.0.mlp.fc1.weight"]  # 16 in, 64 out
    assert weight.std() == pytest.approx((2 / (16 + 64)) ** 0.5, rel=0.1)
    assert np.array_equal(arrays_of(network)["cls_token"], before)


def test_shift_moves_each_image_by_its_own_amount_and_lets_black_in() -> None:
    images = np.zeros((200, 9, 9, 3), np.uint8)
    images[:, 4, 4] = 255

    shifted = shift(images, 2, np.random.default_rng(0))

    assert shifted.shape == images.shape
    found, rows, columns = np.nonzero(shifted[..., 0])
    assert found.tolist() == list(range(200))
    assert set(rows) == set(columns) == {2, 3, 4, 5, 6}


def test_shift_by_nothing_keeps_the_images() -> None:
    images = random_images(3)
    assert np.array_equal(shift(images, 0, np.random.default_rng(0)), images)

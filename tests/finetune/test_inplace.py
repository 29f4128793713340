"""The step in place, with and without checkpointing, against the pure step that defines it."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from reefl_edge.data.dataset import ArrayDataset
from reefl_edge.finetune.client import train_client
from reefl_edge.finetune.inplace import step_in_place, trainable_copy
from reefl_edge.finetune.step import local_step, trained_parameters
from reefl_edge.finetune.training import LocalTraining
from reefl_edge.models.arrays import random_network
from reefl_edge.models.reefl import ReeFL
from reefl_edge.submodel import REGIMES, Regime
from tests.fakes.images import random_images
from tests.fakes.networks import checkpoint_of
from tests.fakes.submodels import tiny_submodel

RATE, WEIGHT, STEPS = 0.05, 0.3, 3


def network_of(regime: Regime, max_exit: int = 1) -> ReeFL:
    return random_network(replace(tiny_submodel(max_exit=max_exit), regime=regime), seed=0)


def batch(index: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(index)
    return torch.randn(5, 3, 16, 16, generator=generator), torch.tensor([0, 1, 2, 0, 1])


def take_steps(network: ReeFL, *, recompute: bool) -> torch.Tensor:
    running_losses = torch.zeros(network.submodel.num_exits)
    for index in range(STEPS):
        running_losses, _ = step_in_place(
            network,
            running_losses,
            *batch(index),
            learning_rate=RATE,
            distill_weight=WEIGHT,
            recompute=recompute,
        )
    return running_losses


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("max_exit", [0, 1])
@pytest.mark.parametrize("regime", REGIMES)
def test_steps_in_place_end_where_pure_steps_end(
    regime: Regime, max_exit: int, recompute: bool
) -> None:
    network = network_of(regime, max_exit)
    parameters, running_losses = trained_parameters(network), torch.zeros(max_exit + 1)
    for index in range(STEPS):
        parameters, running_losses, _ = local_step(
            network,
            parameters,
            running_losses,
            *batch(index),
            torch.tensor(RATE),
            torch.tensor(WEIGHT),
        )

    learner = trainable_copy(network)
    in_place_losses = take_steps(learner, recompute=recompute)

    after = trained_parameters(learner)
    assert after.keys() == parameters.keys()
    for name, array in after.items():
        torch.testing.assert_close(array, parameters[name], rtol=0, atol=1e-6)
    torch.testing.assert_close(in_place_losses, running_losses)


@pytest.mark.parametrize("regime", REGIMES)
def test_the_caller_s_network_stays_as_it_is(regime: Regime) -> None:
    network = network_of(regime)
    before = {name: array.clone() for name, array in network.state_dict().items()}

    take_steps(trainable_copy(network), recompute=True)

    assert all(torch.equal(array, before[name]) for name, array in network.state_dict().items())


@pytest.mark.parametrize("recompute", [False, True])
def test_no_gradient_outlives_its_step(recompute: bool) -> None:
    learner = trainable_copy(network_of("full"))

    take_steps(learner, recompute=recompute)

    assert all(parameter.grad is None for parameter in learner.parameters())


def test_frozen_arrays_are_shared_and_ask_for_no_gradient() -> None:
    network = network_of("frozen")
    originals = dict(network.named_parameters())

    learner = trainable_copy(network)

    for name, parameter in learner.named_parameters():
        is_trained = name.startswith(("accumulator.", "classifier."))
        assert parameter.requires_grad == is_trained
        assert (parameter.data_ptr() == originals[name].data_ptr()) != is_trained


def test_gradients_are_clipped_before_they_count() -> None:
    learner = trainable_copy(network_of("full"))
    before = {name: array.clone() for name, array in trained_parameters(learner).items()}

    step_in_place(
        learner, torch.zeros(2), 1e3 * batch(0)[0], batch(0)[1], learning_rate=0.5, distill_weight=0
    )

    moved = [
        (before[name] - array).abs().max() for name, array in trained_parameters(learner).items()
    ]
    assert max(moved) <= 0.5 + 1e-6


def test_blocks_are_the_network_s_own_again_after_a_checkpointed_step() -> None:
    learner = trainable_copy(network_of("full"))
    names = [name for name, _ in learner.named_parameters()]

    take_steps(learner, recompute=True)

    assert [name for name, _ in learner.named_parameters()] == names


def test_a_checkpointed_block_with_trained_arrays_behind_a_fixed_input_learns() -> None:
    learner = trainable_copy(network_of("full"))
    for name, parameter in learner.named_parameters():
        parameter.requires_grad_(not name.startswith(("cls_token", "pos_embed", "patch_embed")))
    before = learner.get_parameter("blocks.0.mlp.fc1.weight").detach().clone()

    take_steps(learner, recompute=True)

    assert not torch.equal(learner.get_parameter("blocks.0.mlp.fc1.weight"), before)


@pytest.mark.parametrize("regime", ["full", "frozen"])
def test_checkpointing_activations_gives_the_same_update(regime: Regime) -> None:
    network = network_of(regime)
    dataset = ArrayDataset(
        random_images(7), np.arange(7) % 3, class_names=("a", "b", "c"), image_size=16
    )

    kept, recomputed = (
        train_client(
            checkpoint_of(network),
            regime,
            dataset,
            LocalTraining(batch_size=5, recompute=recomputes),
        )
        for recomputes in (False, True)
    )

    assert kept.update.arrays.keys() == recomputed.update.arrays.keys()
    for name, array in kept.update.arrays.items():
        np.testing.assert_allclose(recomputed.update.arrays[name], array, rtol=0, atol=1e-6)
    assert kept.history.losses == pytest.approx(recomputed.history.losses)

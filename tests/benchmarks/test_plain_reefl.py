"""The plain formulation computes what the network computes: else times cannot be compared."""

from dataclasses import replace

import pytest
import torch

from benchmarks.apparatus.plain_reefl import PlainTrainer, plain_arrays, plain_reefl
from reefl_edge.finetune.step import local_step, trained_parameters
from reefl_edge.models.arrays import random_network
from reefl_edge.submodel import Regime
from tests.fakes.submodels import tiny_submodel

IMAGES = torch.randn(5, 3, 16, 16, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 1, 2, 0, 1])


def test_every_exit_predicts_the_same() -> None:
    network = random_network(tiny_submodel(), seed=0)
    plain = plain_reefl(network.submodel, network.state_dict())

    torch.testing.assert_close(plain(IMAGES), network(IMAGES), rtol=0, atol=1e-6)


@pytest.mark.parametrize("regime", ["full", "frozen"])
def test_three_steps_end_at_the_same_weights(regime: Regime) -> None:
    network = random_network(replace(tiny_submodel(), regime=regime), seed=0)
    parameters, running_losses = trained_parameters(network), torch.zeros(2)
    plain = plain_reefl(network.submodel, network.state_dict())
    trainer = PlainTrainer(
        plain, set(plain_arrays(parameters)), learning_rate=0.05, distill_weight=0.3
    )

    for _ in range(3):
        parameters, running_losses, _ = local_step(
            network,
            parameters,
            running_losses,
            IMAGES,
            LABELS,
            torch.tensor(0.05),
            torch.tensor(0.3),
        )
        trainer.step(IMAGES, LABELS)

    expected = plain_arrays({**network.state_dict(), **parameters})
    for name, array in plain.state_dict().items():
        torch.testing.assert_close(array, expected[name], rtol=0, atol=1e-6)

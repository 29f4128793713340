"""Which training steps are compared, and how does each start from the same weights?

* ``plain``: ReeFL as the released code writes it, ``plain_reefl.py``.
* ``pure``: the definition, ``reefl_edge/finetune/step.py``.
* ``in-place``: what the trainer runs, ``reefl_edge/finetune/inplace.py``.
* ``checkpointed``: the same, recomputing the blocks.
"""

from typing import Literal, Protocol, assert_never, get_args

import torch

from benchmarks.apparatus.plain_reefl import PlainTrainer, plain_arrays, plain_reefl
from reefl_edge.finetune.inplace import step_in_place, trainable_copy
from reefl_edge.finetune.step import Parameters, local_step, trained_parameters
from reefl_edge.jobs.workloads import random_images
from reefl_edge.models.arrays import random_network
from reefl_edge.models.preprocess import network_input
from reefl_edge.models.reefl import ReeFL
from reefl_edge.submodel import Submodel

Variant = Literal["plain", "pure", "in-place", "checkpointed"]
VARIANTS: tuple[Variant, ...] = get_args(Variant)
LEARNING_RATE, DISTILL_WEIGHT = 0.001, 0.5


class Stepper(Protocol):
    """Takes one training step after another, always on the same batch."""

    def step(self) -> None:
        """Take one step."""

    def arrays(self) -> Parameters:
        """Return the trained arrays as they are now, under the plain network's names."""


def stepper_for(variant: Variant, submodel: Submodel, *, batch_size: int) -> Stepper:
    """Return a variant, at the start: the same weights and images for all."""
    architecture = submodel.architecture
    network = random_network(submodel, seed=0)
    images = network_input(random_images(batch_size, architecture.image_size), architecture)
    labels = torch.arange(batch_size) % architecture.num_classes
    match variant:
        case "plain":
            return _Plain(network, images, labels)
        case "pure":
            return _Pure(network, images, labels)
        case "in-place":
            return _InPlace(network, images, labels, recompute=False)
        case "checkpointed":
            return _InPlace(network, images, labels, recompute=True)
        case _:
            assert_never(variant)


class _Plain:
    def __init__(self, network: ReeFL, images: torch.Tensor, labels: torch.Tensor) -> None:
        self.batch = images, labels
        self.trained = set(plain_arrays(trained_parameters(network)))
        self.trainer = PlainTrainer(
            plain_reefl(network.submodel, network.state_dict()),
            self.trained,
            learning_rate=LEARNING_RATE,
            distill_weight=DISTILL_WEIGHT,
        )

    def step(self) -> None:
        self.trainer.step(*self.batch)

    def arrays(self) -> Parameters:
        state = self.trainer.plain.state_dict()
        return {name: state[name] for name in self.trained}


class _Pure:
    def __init__(self, network: ReeFL, images: torch.Tensor, labels: torch.Tensor) -> None:
        self.network = network
        self.batch = images, labels
        self.parameters = trained_parameters(network)
        self.running_losses = torch.zeros(network.submodel.num_exits)

    def step(self) -> None:
        self.parameters, self.running_losses, _ = local_step(
            self.network,
            self.parameters,
            self.running_losses,
            *self.batch,
            torch.tensor(LEARNING_RATE),
            torch.tensor(DISTILL_WEIGHT),
        )

    def arrays(self) -> Parameters:
        return plain_arrays(self.parameters)


class _InPlace:
    def __init__(
        self,
        network: ReeFL,
        images: torch.Tensor,
        labels: torch.Tensor,
        *,
        recompute: bool,
    ) -> None:
        self.network = trainable_copy(network)
        self.batch = images, labels
        self.recompute = recompute
        self.running_losses = torch.zeros(network.submodel.num_exits)

    def step(self) -> None:
        self.running_losses, _ = step_in_place(
            self.network,
            self.running_losses,
            *self.batch,
            learning_rate=LEARNING_RATE,
            distill_weight=DISTILL_WEIGHT,
            recompute=self.recompute,
        )

    def arrays(self) -> Parameters:
        return plain_arrays(trained_parameters(self.network))

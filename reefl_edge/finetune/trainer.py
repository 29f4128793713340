"""How does a client fine-tune its sub-model on its own data?

Step after step over shuffled batches, in place on a copy of the trained arrays; what comes out is
an *update*, these arrays alone. Nothing is kept from one round to the next: weights come from the
server, running losses start at zero.

Source: royson/reefl 61b18c1.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from reefl_edge import weights
from reefl_edge.array_files import not_finite
from reefl_edge.data.augment import Augmentation, augment
from reefl_edge.data.base import Dataset, Images, num_examples
from reefl_edge.errors import DivergenceError
from reefl_edge.finetune import schedule
from reefl_edge.finetune.batches import (
    Indices,
    check_counts,
    check_dataset,
    labels_at,
    network_input,
    num_steps,
    shuffled_batches,
)
from reefl_edge.finetune.distill import distill_weight
from reefl_edge.finetune.inplace import step_in_place, trainable_copy
from reefl_edge.finetune.modes import DistillMode
from reefl_edge.finetune.step import Parameters, StepMetrics, trained_parameters
from reefl_edge.finetune.teaching import Teaching, hold_out, teaching
from reefl_edge.models.checkpoint import arrays_of
from reefl_edge.models.reefl import ReeFL


@dataclass(frozen=True, slots=True, kw_only=True)
class FinetuneResult:
    """What local training gave.

    Attributes:
        update: The trained arrays, and what they were trained from.
        losses: The loss of every step, before the step.
        teacher_counts: On how many batches each exit taught.
    """

    update: weights.Update
    losses: tuple[float, ...]
    teacher_counts: tuple[int, ...]

    @property
    def num_steps(self) -> int:
        """How many steps were taken."""
        return len(self.losses)


def finetune(
    network: ReeFL,
    dataset: Dataset,
    *,
    epochs: int = 1,
    batch_size: int = 32,
    learning_rate: float | None = None,
    server_round: int = 300,
    distill: DistillMode = "dynamic-ma",
    augmentation: Augmentation = "none",
    seed: int = 0,
    checkpoint_activations: bool = False,
    on_step: Callable[[int, int], None] | None = None,
) -> FinetuneResult:
    """Train what the network's regime trains; the network itself stays as it is.

    Args:
        network: Where training starts.
        dataset: The client's examples; images of the network's size.
        epochs: How often every example is seen.
        batch_size: Examples per step; an epoch's last batch may be smaller.
        learning_rate: Size of a step; None for the schedule's at ``server_round``.
        server_round: The federated round, 1-based: sets the schedules.
        distill: Which exits teach which; ``dynamic`` holds a share of the examples out.
        augmentation: How images are varied at random.
        seed: Of the order of the examples and of how they are varied.
        checkpoint_activations: Compute parts of the forward pass again instead of keeping them:
            the same update in less memory and more time.
        on_step: Called after every step with the steps done and those to do.

    Raises:
        ValueError: The dataset is empty or does not fit the network, or a number is out of range.
        DivergenceError: An array is no longer finite.
    """
    check_counts(epochs=epochs, batch_size=batch_size)
    check_dataset(dataset, network.submodel.architecture)
    rate = schedule.learning_rate(server_round) if learning_rate is None else learning_rate
    schedule.check_rate(rate)
    order = np.random.default_rng(seed)
    varying, contest = order.spawn(2)
    training, held_out = hold_out(dataset, distill, contest)
    count = num_examples(training)
    total = num_steps(count, epochs=epochs, batch_size=batch_size)
    batches = shuffled_batches(count, epochs=epochs, batch_size=batch_size, generator=order)
    teaches = teaching(
        distill, network, held_out, num_steps=total, batch_size=batch_size, generator=contest
    )
    pixels = _pixels(training, augmentation, varying)
    history: list[StepMetrics] = []
    learner = trainable_copy(network)
    for metrics in _steps(
        learner,
        training,
        pixels,
        batches,
        teaches,
        learning_rate=rate,
        distill_weight=distill_weight(server_round),
        checkpoint_activations=checkpoint_activations,
    ):
        history.append(metrics)
        if on_step is not None:
            on_step(len(history), total)
    provenance = weights.Provenance(
        base_sha256=weights.base_sha256(arrays_of(network)),
        server_round=server_round,
        num_examples=count,
    )
    arrays = _checked_arrays(trained_parameters(learner))
    return FinetuneResult(
        update=weights.Update(submodel=network.submodel, arrays=arrays, provenance=provenance),
        losses=tuple(float(metrics.loss) for metrics in history),
        teacher_counts=_count_teachers(history, distill, num_exits=network.submodel.num_exits),
    )


def _pixels(
    dataset: Dataset, augmentation: Augmentation, generator: np.random.Generator
) -> Callable[[Indices], Images]:
    """Return what gives a batch of 8-bit images, (B, H, W, 3)."""
    if augmentation == "none":
        return dataset.images
    return lambda indices: augment(
        dataset.originals(indices), dataset.image_size, augmentation, generator
    )


def _steps(
    learner: ReeFL,
    dataset: Dataset,
    pixels: Callable[[Indices], Images],
    batches: Iterable[Indices],
    teaches: Teaching,
    **settings: Any,
) -> Iterator[StepMetrics]:
    """Take one step per batch, each from where the last one ended; settings as for a step."""
    architecture = learner.submodel.architecture
    running_losses = torch.zeros(learner.submodel.num_exits)
    for indices in batches:
        running_losses, metrics = step_in_place(
            learner,
            running_losses,
            network_input(pixels(indices), architecture),
            labels_at(dataset, indices),
            teaches=teaches(trained_parameters(learner)),
            **settings,
        )
        yield metrics


def _checked_arrays(parameters: Parameters) -> weights.Arrays:
    """Return the arrays of an update, unless they would poison whatever they are merged into."""
    arrays = {name: parameter.numpy() for name, parameter in parameters.items()}
    if (name := not_finite(arrays)) is not None:
        raise DivergenceError(f"training diverged, {name} is not finite; lower the learning rate")
    return arrays


def _count_teachers(
    history: list[StepMetrics], distill: DistillMode, *, num_exits: int
) -> tuple[int, ...]:
    """Count the batches on which each exit taught."""
    if distill in ("none", "all"):
        return (len(history) if distill == "all" else 0,) * num_exits
    teachers = [int(metrics.teacher_index) for metrics in history]
    return tuple(teachers.count(exit_index) for exit_index in range(num_exits))

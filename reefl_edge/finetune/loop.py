"""How does a client go through its examples, step after step?

Epochs, shuffling, augmentation, which exit teaches: numpy alone. What a step computes, and with
what, is the stepper's. Nothing is kept from one round to the next: weights come from the server,
running losses start at zero.

Source: royson/reefl 61b18c1.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from reefl_edge.data.augment import Augmentation, augment
from reefl_edge.data.dataset import Dataset, Images, Indices, num_examples
from reefl_edge.finetune.batches import check_dataset, num_steps, shuffled_batches
from reefl_edge.finetune.modes import DistillMode
from reefl_edge.finetune.steppers.base import StepMetrics, Stepper
from reefl_edge.finetune.teaching import hold_out, teaching
from reefl_edge.finetune.training import LocalTraining

OnStep = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What happened, step by step.

    Attributes:
        num_examples: How many were trained on; ``dynamic`` holds some out.
        losses: The loss of every step, before the step.
        teacher_counts: On how many batches each exit taught.
    """

    num_examples: int
    losses: tuple[float, ...]
    teacher_counts: tuple[int, ...]

    @property
    def num_steps(self) -> int:
        """How many steps were taken."""
        return len(self.losses)


def train(
    stepper: Stepper,
    dataset: Dataset,
    training: LocalTraining,
    *,
    on_step: OnStep | None = None,
) -> History:
    """Train on all examples of a client.

    Args:
        stepper: What takes the steps, and holds what is trained.
        dataset: The client's examples; images of the network's size.
        training: The settings.
        on_step: Called after every step with the steps done and those to do.

    Raises:
        ValueError: The dataset is empty or does not fit the network, or is too small for the mode
            of distillation, which the stepper may not know either.
    """
    check_dataset(dataset, stepper.submodel.architecture)
    order = np.random.default_rng(training.seed)
    varying, contest = order.spawn(2)
    examples, held_out = hold_out(dataset, training.distill, contest)
    count, batch_size = num_examples(examples), training.batch_size
    total = num_steps(count, epochs=training.epochs, batch_size=batch_size)
    teaches = teaching(
        training.distill,
        stepper,
        held_out,
        num_steps=total,
        batch_size=batch_size,
        generator=contest,
    )
    pixels = _pixels(examples, training.augmentation, varying)
    batches = shuffled_batches(
        count, epochs=training.epochs, batch_size=batch_size, generator=order
    )
    steps: list[StepMetrics] = []
    for indices in batches:
        metrics = stepper.step(
            pixels(indices),
            examples.labels[indices],
            learning_rate=training.rate,
            distill_weight=training.distill_weight,
            teaches=teaches(),
        )
        steps.append(metrics)
        if on_step is not None:
            on_step(len(steps), total)
    return History(
        num_examples=count,
        losses=tuple(metrics.loss for metrics in steps),
        teacher_counts=_count_teachers(
            steps, training.distill, num_exits=stepper.submodel.num_exits
        ),
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


def _count_teachers(
    steps: list[StepMetrics], distill: DistillMode, *, num_exits: int
) -> tuple[int, ...]:
    """Count the batches on which each exit taught."""
    if distill in ("none", "all"):
        return (len(steps) if distill == "all" else 0,) * num_exits
    teachers = [metrics.teacher_index for metrics in steps]
    return tuple(teachers.count(exit_index) for exit_index in range(num_exits))

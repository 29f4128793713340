"""Who teaches whom at each step of a client's training?

The mode of distillation decides. ``dynamic`` needs examples that are not trained on: a share of the
client's own is held out, and before every step the exits compete on a batch of them.

Letters: E exits.
Source: royson/reefl 61b18c1.
"""

from collections.abc import Callable
from typing import assert_never

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call

from reefl_edge.data.base import Dataset, Subset, num_examples
from reefl_edge.finetune.batches import labels_at, network_input, shuffled_batches
from reefl_edge.finetune.distill import (
    all_teach,
    deepest_teaches,
    nobody_teaches,
    one_teaches,
)
from reefl_edge.finetune.modes import DistillMode
from reefl_edge.finetune.step import Parameters, cross_entropies
from reefl_edge.models.reefl import ReeFL

HELD_OUT_SHARE = 0.2

# Says, of the parameters before a step, who teaches whom in it, (E, E); None leaves that to the
# running losses.
Teaching = Callable[[Parameters], Tensor | None]


def hold_out(
    dataset: Dataset, mode: DistillMode, generator: np.random.Generator
) -> tuple[Dataset, Dataset | None]:
    """Set aside the examples that a mode needs.

    Returns:
        What to train on, and what to choose the teacher on, if the mode needs any.

    Raises:
        ValueError: There are not enough examples for both.
    """
    if mode != "dynamic":
        return dataset, None
    count = num_examples(dataset)
    if count < 2:
        raise ValueError(f"distillation mode 'dynamic' needs 2 examples at least, got {count}")
    order = generator.permutation(count)
    num_held_out = max(1, round(HELD_OUT_SHARE * count))
    return Subset(dataset, order[num_held_out:]), Subset(dataset, order[:num_held_out])


def teaching(
    mode: DistillMode,
    network: ReeFL,
    held_out: Dataset | None,
    *,
    num_steps: int,
    batch_size: int,
    generator: np.random.Generator,
) -> Teaching:
    """Return what says who teaches whom.

    Args:
        mode: Of distillation.
        network: What is trained.
        held_out: What ``hold_out`` set aside.
        num_steps: How many steps there will be.
        batch_size: Held-out examples per step.
        generator: Of the order of the held-out examples.
    """
    num_exits = network.submodel.num_exits
    match mode:
        case "dynamic-ma":
            return lambda _: None
        case "none":
            teaches = nobody_teaches(num_exits)
        case "forward":
            teaches = deepest_teaches(num_exits)
        case "all":
            teaches = all_teach(num_exits)
        case "dynamic":
            if held_out is None:
                raise ValueError("distillation mode 'dynamic' needs held-out examples")
            return _contest(network, held_out, num_steps, batch_size, generator)
        case _:
            assert_never(mode)
    return lambda _: teaches


def _contest(
    network: ReeFL,
    held_out: Dataset,
    num_steps: int,
    batch_size: int,
    generator: np.random.Generator,
) -> Teaching:
    """Let the exit teach that is best on the next held-out batch."""
    batches = shuffled_batches(
        num_examples(held_out), epochs=num_steps, batch_size=batch_size, generator=generator
    )

    @torch.no_grad()
    def teaches(parameters: Parameters) -> Tensor:
        indices = next(batches)
        images = network_input(held_out.images(indices), network.submodel.architecture)
        logits = functional_call(network, parameters, (images,))
        losses = cross_entropies(logits, labels_at(held_out, indices))
        return one_teaches(losses.argmin(), network.submodel.num_exits)

    return teaches

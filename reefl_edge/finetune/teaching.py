"""Who teaches whom at each step of a client's training?

The mode of distillation decides. ``dynamic`` needs examples that are not trained on: a share of the
client's own is held out, and before every step the exits compete on a batch of them.

Letters: E exits.
Source: royson/reefl 61b18c1, whose modes are called ``dynamic_ma``, ``dynamic``, ``all``,
``forward`` and nothing.
"""

from collections.abc import Callable
from typing import assert_never

import numpy as np
from numpy.typing import NDArray

from reefl_edge.data.dataset import Dataset, Subset, num_examples
from reefl_edge.finetune.batches import ShuffledBatches
from reefl_edge.finetune.modes import DistillMode
from reefl_edge.finetune.steppers.base import JudgesExits, Stepper

HELD_OUT_SHARE = 0.2

# How much the exit of a row teaches the exit of a column, (E, E).
Teaches = NDArray[np.float32]
# Says, before a step, who teaches whom in it; None leaves that to the running losses.
Teaching = Callable[[], Teaches | None]


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
    stepper: Stepper,
    held_out: Dataset | None,
    batches: ShuffledBatches | None,
) -> Teaching:
    """Return what says who teaches whom.

    Args:
        mode: Of distillation.
        stepper: What trains; for ``dynamic`` it must be able to judge exits.
        held_out: What ``hold_out`` set aside.
        batches: Which of it the exits compete on, one batch a step; None where nothing was.

    Raises:
        ValueError: The stepper cannot do what the mode needs.
    """
    num_exits = stepper.submodel.num_exits
    match mode:
        case "dynamic-ma":
            return lambda: None
        case "none":
            teaches = np.zeros((num_exits, num_exits), np.float32)
        case "forward":
            teaches = one_teaches(num_exits - 1, num_exits)
        case "all":
            teaches = all_teach(num_exits)
        case "dynamic":
            if held_out is None or batches is None or not isinstance(stepper, JudgesExits):
                raise ValueError(
                    f"distillation mode 'dynamic' needs held-out examples and a stepper that "
                    f"judges exits; {type(stepper).__name__} does not"
                )
            return _contest(stepper, held_out, batches)
        case _:
            assert_never(mode)
    return lambda: teaches


def one_teaches(teacher_index: int, num_exits: int) -> Teaches:
    """Return who teaches whom, (E, E), where one exit teaches all others."""
    teaches = np.zeros((num_exits, num_exits), np.float32)
    teaches[teacher_index] = 1
    teaches[teacher_index, teacher_index] = 0
    return teaches


def all_teach(num_exits: int) -> Teaches:
    """Return who teaches whom, (E, E): every exit every other, so that each learns a mean."""
    others = max(1, num_exits - 1)  # a single exit has no other; nothing is divided by zero
    return (1 - np.eye(num_exits, dtype=np.float32)) / np.float32(others)


def _contest(stepper: JudgesExits, held_out: Dataset, batches: ShuffledBatches) -> Teaching:
    """Let the exit teach that is best on the next held-out batch."""

    def teaches() -> Teaches:
        indices = next(batches)
        losses = stepper.exit_losses(held_out.images(indices), held_out.labels[indices])
        return one_teaches(int(losses.argmin()), len(losses))

    return teaches

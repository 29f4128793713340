"""What goes into a compiled step beside the trained arrays, for a batch of up to its size?

Letters: B batch, H and W image size, E exits.
"""

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from reefl_edge.data.dataset import Images, Labels
from reefl_edge.finetune.steppers.base import Losses
from reefl_edge.submodel import Submodel

_Scalar = TypeVar("_Scalar", bound=np.generic)


def step_inputs(
    submodel: Submodel,
    batch_size: int,
    images: Images,
    labels: Labels,
    running_losses: Losses,
    *,
    learning_rate: float,
    distill_weight: float,
    teaches: NDArray[np.float32] | None,
) -> dict[str, NDArray[Any]]:
    """Return the inputs of a step by name, in the order of ``Submodel.step_signature``.

    Args:
        submodel: What is trained.
        batch_size: Images that the step was compiled for; a smaller batch is filled up and masked.
        images: 8-bit RGB of the network's size, (B, H, W, 3).
        labels: Class of every image, int64, (B,).
        running_losses: Running loss of each exit, (E,).
        learning_rate: Size of the step.
        distill_weight: What distillation counts beside the exits' own losses.
        teaches: How much the exit of a row teaches the exit of a column, (E, E); None: the exit
            with the lowest running loss teaches all others.

    Raises:
        ValueError: The batch is larger than the step was compiled for, or empty, or of images of
            another size.
    """
    count, edge, num_exits = len(images), submodel.architecture.image_size, submodel.num_exits
    if not 1 <= count <= batch_size:
        raise ValueError(
            f"this step was compiled for batches of 1 to {batch_size} images, got {count}"
        )
    if images.shape[1:] != (edge, edge, 3):
        raise ValueError(f"the step reads images of {(edge, edge, 3)}, got {images.shape[1:]}")
    told = np.zeros((num_exits, num_exits), np.float32) if teaches is None else teaches
    return {
        "images": _filled(images, batch_size),
        "labels": _filled(labels, batch_size),
        "mask": _filled(np.ones(count, np.float32), batch_size),
        "running_losses": running_losses,
        "learning_rate": np.array(learning_rate, np.float32),
        "distill_weight": np.array(distill_weight, np.float32),
        "teaches": np.ascontiguousarray(told, np.float32),
        "best_teaches": np.array(teaches is None),
    }


def _filled(rows: NDArray[_Scalar], batch_size: int) -> NDArray[_Scalar]:
    """Append zeros to a batch, up to the size that was compiled."""
    filled = np.zeros((batch_size, *rows.shape[1:]), rows.dtype)
    filled[: len(rows)] = rows
    return filled

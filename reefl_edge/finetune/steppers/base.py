"""What must take a training step, so that the loop need not know what computes it?

A *stepper* holds the trained arrays and the running losses, and changes them batch by batch. The
loop around it (``loop.py``) is numpy and knows no framework.

Letters: B batch, H and W image size, E exits.
"""

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from reefl_edge.array_files.safetensors import Arrays
from reefl_edge.data.dataset import Images, Labels
from reefl_edge.submodel import Submodel

Losses = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StepMetrics:
    """What a step saw before it changed the arrays.

    Attributes:
        loss: What was minimised.
        exit_losses: Mean cross-entropy of each exit, (E,).
        teacher_index: The exit that taught; of several, the one that taught most.
    """

    loss: float
    exit_losses: Losses
    teacher_index: int


class Stepper(Protocol):
    """Takes one step of ReeFL's local training after another."""

    running_losses: Losses
    """Running loss of each exit, (E,); zeros at the start."""

    @property
    def submodel(self) -> Submodel:
        """What is trained."""
        ...

    def step(
        self,
        images: Images,
        labels: Labels,
        *,
        learning_rate: float,
        distill_weight: float,
        teaches: NDArray[np.float32] | None,
    ) -> StepMetrics:
        """Train on one batch.

        Args:
            images: 8-bit RGB of the network's size, (B, H, W, 3).
            labels: Class of every image, int64, (B,).
            learning_rate: Size of the step.
            distill_weight: What distillation counts beside the exits' own losses.
            teaches: How much the exit of a row teaches the exit of a column, (E, E); None: the exit
                with the lowest running loss teaches all others.
        """
        ...

    def arrays(self) -> Arrays:
        """Return a copy of the trained arrays, by name."""
        ...

    def load(self, arrays: Arrays) -> None:
        """Go on from other trained arrays, by name.

        Raises:
            ValueError: They are not the arrays that the regime trains.
        """
        ...


@runtime_checkable
class JudgesExits(Protocol):
    """A stepper that can also tell how good each exit is, without learning anything."""

    def exit_losses(self, images: Images, labels: Labels) -> Losses:
        """Return the mean cross-entropy of each exit, (E,).

        Args:
            images: 8-bit RGB of the network's size, (B, H, W, 3).
            labels: Class of every image, int64, (B,).
        """
        ...


def check_trained(arrays: dict[str, NDArray[Any]], submodel: Submodel) -> None:
    """Hold arrays to those that a sub-model's regime trains, by name and shape.

    Raises:
        ValueError: They differ.
    """
    expected = {spec.name: spec.shape for spec in submodel.trained_arrays()}
    if {name: array.shape for name, array in arrays.items()} != expected:
        wrong = sorted(
            name
            for name in arrays.keys() | expected.keys()
            if name not in arrays or arrays[name].shape != expected.get(name)
        )
        raise ValueError(f"not the arrays that {submodel.regime!r} trains: {', '.join(wrong)}")

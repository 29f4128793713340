"""What does the next step depend on, beside the model, the data and the settings?

Letters: E exits, S steps so far.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reefl_edge.array_files.safetensors import Arrays
from reefl_edge.finetune.batches import BatchesPosition
from reefl_edge.finetune.generators import GeneratorState
from reefl_edge.finetune.steppers.base import Losses


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopPosition:
    """Where the loop stands in everything that it draws at random.

    Attributes:
        batches: Of the examples.
        varying: The generator that images are varied by.
        contest: Batches of the held-out examples; None where the mode holds none out.
    """

    batches: BatchesPosition
    varying: GeneratorState
    contest: BatchesPosition | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LoopState:
    """What training goes on from as if it had never stopped.

    Attributes:
        arrays: The trained arrays, by name.
        running_losses: Running loss of each exit, (E,).
        losses: The loss of every step, float64, (S,).
        teachers: The exit that taught in every step, (S,).
        position: Where the loop stands.
    """

    arrays: Arrays
    running_losses: Losses
    losses: NDArray[np.float64]
    teachers: NDArray[np.int64]
    position: LoopPosition

    @property
    def num_steps(self) -> int:
        """How many steps were taken."""
        return len(self.losses)

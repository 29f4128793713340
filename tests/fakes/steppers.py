"""A step that learns nothing."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from reefl_edge.array_files.safetensors import Arrays
from reefl_edge.finetune.steppers.base import StepMetrics
from reefl_edge.submodel import Submodel


class FakeStepper:
    """Notes what it is given to train on, and learns nothing.

    Args:
        submodel: What it says it trains.
    """

    def __init__(self, submodel: Submodel) -> None:
        self.running_losses = np.zeros(submodel.num_exits, np.float32)
        self.submodel = submodel
        self.batches: list[tuple[NDArray[np.uint8], NDArray[np.int64]]] = []
        self.settings: list[dict[str, Any]] = []

    def step(
        self, images: NDArray[np.uint8], labels: NDArray[np.int64], **settings: Any
    ) -> StepMetrics:
        """Note the batch; every step's loss is its number."""
        self.batches.append((images, labels))
        self.settings.append(settings)
        return StepMetrics(
            loss=float(len(self.batches)), exit_losses=self.running_losses, teacher_index=0
        )

    def arrays(self) -> Arrays:
        """Return zeros."""
        return {
            spec.name: np.zeros(spec.shape, np.float32) for spec in self.submodel.trained_arrays()
        }

    def load(self, arrays: Arrays) -> None:
        """Take no notice."""

"""How does PyTorch take the steps: in place, on a copy of the trained arrays?"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reefl_edge.array_files.safetensors import Arrays
from reefl_edge.data.dataset import Images, Labels
from reefl_edge.finetune.inplace import step_in_place, trainable_copy
from reefl_edge.finetune.step import cross_entropies, trained_parameters
from reefl_edge.finetune.steppers.base import Losses, StepMetrics, check_trained
from reefl_edge.models.preprocess import network_input
from reefl_edge.models.reefl import ReeFL
from reefl_edge.submodel import Submodel


class EagerStepper:
    """Steps of a network, which itself stays as it is.

    Args:
        network: Where training starts.
        recompute: Compute parts of the forward pass again instead of keeping them:
            the same update in less memory and more time.
        threads: Threads to compute with; None leaves what PyTorch is set to.
        torch_device: Where to compute, such as ``cpu`` or ``cuda``.
    """

    def __init__(
        self,
        network: ReeFL,
        *,
        recompute: bool = False,
        threads: int | None = None,
        torch_device: str | torch.device = "cpu",
    ) -> None:
        if threads is not None:
            torch.set_num_threads(threads)
        self.running_losses: Losses = np.zeros(network.submodel.num_exits, np.float32)
        self._learner = trainable_copy(network).to(torch_device)
        self._recompute = recompute
        self._torch_device = torch_device

    @property
    def submodel(self) -> Submodel:
        """What is trained."""
        return self._learner.submodel

    def step(
        self,
        images: Images,
        labels: Labels,
        *,
        learning_rate: float,
        distill_weight: float,
        teaches: NDArray[np.float32] | None,
    ) -> StepMetrics:
        """Train on one batch; see ``Stepper.step``."""
        running_losses, metrics = step_in_place(
            self._learner,
            self._there(self.running_losses),
            self._input(images),
            self._there(labels),
            learning_rate=learning_rate,
            distill_weight=distill_weight,
            teaches=None if teaches is None else self._there(teaches),
            recompute=self._recompute,
        )
        self.running_losses = running_losses.cpu().numpy()
        return StepMetrics(
            loss=float(metrics.loss),
            exit_losses=metrics.exit_losses.cpu().numpy(),
            teacher_index=int(metrics.teacher_index),
        )

    @torch.no_grad()
    def exit_losses(self, images: Images, labels: Labels) -> Losses:
        """Return the mean cross-entropy of each exit, (E,); see ``JudgesExits``."""
        losses = cross_entropies(self._learner(self._input(images)), self._there(labels))
        return losses.cpu().numpy()

    def arrays(self) -> Arrays:
        """Return a copy of the trained arrays, by name."""
        parameters = trained_parameters(self._learner)
        return {name: array.cpu().numpy().copy() for name, array in parameters.items()}

    def load(self, arrays: Arrays) -> None:
        """Go on from other trained arrays; see ``Stepper.load``."""
        check_trained(arrays, self.submodel)
        for name, parameter in trained_parameters(self._learner).items():
            parameter.copy_(self._there(arrays[name]))

    def _input(self, images: Images) -> Tensor:
        return network_input(images, self.submodel.architecture, torch_device=self._torch_device)

    def _there(self, array: NDArray[np.generic]) -> Tensor:
        return torch.from_numpy(np.require(array, requirements=("C", "W"))).to(self._torch_device)

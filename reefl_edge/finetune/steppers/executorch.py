"""How does ExecuTorch take the steps: with a program compiled for one batch size?

The program is a pure function. The trained arrays lie here; they go in, and what they became is
copied from the program's memory, which its next step overwrites.
"""

from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from reefl_edge.array_files.safetensors import Arrays
from reefl_edge.bundles.bundle import Bundle
from reefl_edge.bundles.facts import hold_to_step
from reefl_edge.bundles.start import read_trained
from reefl_edge.bundles.training import TrainingStep
from reefl_edge.data.dataset import Images, Labels
from reefl_edge.errors import InputError
from reefl_edge.finetune.steppers.base import Losses, StepMetrics, check_trained
from reefl_edge.finetune.steppers.batch import step_inputs
from reefl_edge.runtimes.executorch import (
    STEP_METHOD,
    open_program,
    outputs_in_place,
    quiet_engine,
    stated_facts,
    translated_errors,
)
from reefl_edge.submodel import Submodel


class ExecuTorchStepper:
    """Steps of a program.

    Args:
        method: The program's step, loaded.
        submodel: What is trained.
        batch_size: Images that the step takes; a smaller batch is filled up and masked.
        arrays: The trained arrays to start from, by name.

    Raises:
        ValueError: They are not the arrays that the regime trains.
    """

    def __init__(self, method: Any, submodel: Submodel, *, batch_size: int, arrays: Arrays) -> None:
        self.running_losses: Losses = np.zeros(submodel.num_exits, np.float32)
        self._method = method
        self._submodel = submodel
        self._batch_size = batch_size
        self._trained = {spec.name: torch.empty(spec.shape) for spec in submodel.trained_arrays()}
        self.load(arrays)

    @classmethod
    def open(
        cls, bundle: Bundle, step: TrainingStep, *, threads: int, arrays: Arrays | None = None
    ) -> Self:
        """Load the program of a bundle's training step.

        Args:
            bundle: The bundle.
            step: What its manifest says of the step.
            threads: Threads to compute with.
            arrays: Trained arrays to start from; None for the step's own.

        Raises:
            InputError: The step was not compiled to ExecuTorch, a file is missing or changed,
                ExecuTorch refuses it, or the manifest says otherwise than it does.
            MissingToolchainError: ExecuTorch is not installed.
            ValueError: ``arrays`` are not those that the regime trains.
        """
        path, program = hold_step_program(bundle, step, threads=threads)
        start = read_trained(bundle, step) if arrays is None else arrays
        with quiet_engine(), translated_errors(f"load {path}"):
            method = program.load_method(STEP_METHOD)
        return cls(method, step.submodel, batch_size=step.batch_size, arrays=start)

    @property
    def submodel(self) -> Submodel:
        """What is trained."""
        return self._submodel

    def step(
        self,
        images: Images,
        labels: Labels,
        *,
        learning_rate: float,
        distill_weight: float,
        teaches: NDArray[np.float32] | None,
    ) -> StepMetrics:
        """Train on one batch; see ``Stepper.step``.

        Raises:
            ValueError: As for ``step_inputs``.
        """
        outputs = self._run(images, labels, learning_rate, distill_weight, teaches)
        running_losses, loss, exit_losses, teacher_index, *arrays = outputs
        for array, after in zip(self._trained.values(), arrays, strict=True):
            np.copyto(array.numpy(), after.numpy())
        self.running_losses = running_losses.numpy().copy()
        return StepMetrics(
            loss=float(loss),
            exit_losses=exit_losses.numpy().copy(),
            teacher_index=int(teacher_index),
        )

    def exit_losses(self, images: Images, labels: Labels) -> Losses:
        """Return the mean cross-entropy of each exit, (E,): a step whose arrays are not kept."""
        _, _, exit_losses, *_ = self._run(images, labels, 0.0, 0.0, None)
        return exit_losses.numpy().copy()

    def arrays(self) -> Arrays:
        """Return a copy of the trained arrays, by name."""
        return {name: array.numpy().copy() for name, array in self._trained.items()}

    def load(self, arrays: Arrays) -> None:
        """Go on from other trained arrays; see ``Stepper.load``."""
        check_trained(arrays, self._submodel)
        for name, array in self._trained.items():
            array.copy_(torch.from_numpy(np.require(arrays[name], requirements=("C", "W"))))

    def _run(
        self,
        images: Images,
        labels: Labels,
        learning_rate: float,
        distill_weight: float,
        teaches: NDArray[np.float32] | None,
    ) -> list[torch.Tensor]:
        """Return what the program gives, in its memory; the batch is filled up."""
        given = step_inputs(
            self._submodel,
            self._batch_size,
            images,
            labels,
            self.running_losses,
            learning_rate=learning_rate,
            distill_weight=distill_weight,
            teaches=teaches,
        )
        inputs = [*map(torch.from_numpy, given.values()), *self._trained.values()]
        with translated_errors("take a training step"):
            return outputs_in_place(self._method, inputs)


def hold_step_program(bundle: Bundle, step: TrainingStep, *, threads: int) -> tuple[Path, Any]:
    """Load the program of a training step without its method, and hold a bundle's manifest to it.

    Returns:
        Where it lies, and the ``executorch.runtime.Program``.

    Raises:
        InputError: The step was not compiled to ExecuTorch, the program is missing or changed, or
            the manifest says otherwise than it does.
        MissingToolchainError: ExecuTorch is not installed.
    """
    listed = bundle.step_file(step, "executorch", ".pte")
    path, program = open_program(bundle, listed, threads=threads)
    if STEP_METHOD not in program.method_names:
        raise InputError(f"{path} holds no training step; export the bundle again")
    hold_to_step(bundle, step, stated_facts(program, path), path)
    return path, program

"""How is a client made ready to train, once, to train round after round?

What takes the steps is built of the model's arrays, or opened from a bundle. That takes longer than
a round of a few steps: kept, it starts again from other trained arrays, as if it had been built of
them.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import assert_never

import numpy as np

from reefl_edge.array_files.safetensors import Arrays
from reefl_edge.bundles.bundle import Bundle
from reefl_edge.bundles.checkpoint import bundled_checkpoint
from reefl_edge.bundles.start import read_start
from reefl_edge.checkpoints.checkpoint import Checkpoint
from reefl_edge.checkpoints.hashes import base_sha256
from reefl_edge.extras import needs_extra
from reefl_edge.finetune.compiled import CompiledName, StepperName, check_batch_size, step_for
from reefl_edge.finetune.steppers.base import Stepper, check_trained
from reefl_edge.finetune.training import LocalTraining
from reefl_edge.runtimes.base import default_threads
from reefl_edge.submodel import Regime


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadyClient:
    """What is ready to train.

    Attributes:
        stepper: What takes the steps.
        name: What kind of stepper it is.
        base_sha256: Identity of the plain arrays that it starts from.
        open_start: Reads all that it starts from.
    """

    stepper: Stepper
    name: StepperName
    base_sha256: str
    open_start: Callable[[], Checkpoint]

    def restarted(self, arrays: Arrays, *, base_sha256: str) -> "ReadyClient":
        """Return it as it would be if it had been built of other trained arrays.

        The stepper is the same one: what it learnt is gone.

        Args:
            arrays: The trained arrays to start from, by name.
            base_sha256: Identity of all plain arrays, with these among them; it is taken as given.

        Raises:
            ValueError: ``arrays`` are not those that the regime trains.
        """
        self.stepper.load(arrays)
        self.stepper.running_losses = np.zeros(self.stepper.submodel.num_exits, np.float32)
        return replace(
            self,
            base_sha256=base_sha256,
            open_start=lambda: starting_from(self.open_start(), arrays),
        )


def ready_client(
    source: Checkpoint | Bundle,
    regime: Regime,
    training: LocalTraining,
    *,
    start_arrays: Arrays | None = None,
    stepper: StepperName = "eager",
    threads: int | None = None,
    torch_device: str = "cpu",
) -> ReadyClient:
    """Make a client ready to train; see ``train_client`` for what is given and what is raised.

    PyTorch reads a checkpoint's frozen arrays where they are: nobody may change them meanwhile.
    """
    if stepper == "eager":
        return _eager(
            source, regime, start_arrays, training, threads=threads, torch_device=torch_device
        )
    return _compiled(source, regime, start_arrays, training, stepper, threads=threads)


def _eager(
    source: Checkpoint | Bundle,
    regime: Regime,
    start_arrays: Arrays | None,
    training: LocalTraining,
    *,
    threads: int | None,
    torch_device: str,
) -> ReadyClient:
    """Make ready to train with PyTorch."""
    checkpoint = bundled_checkpoint(source)[0] if isinstance(source, Bundle) else source
    with needs_extra("fine-tuning", "torch", "train"):
        from reefl_edge.finetune.steppers.eager import EagerStepper
        from reefl_edge.models.arrays import network_from
        from reefl_edge.models.regime import with_regime
    start = starting_from(with_regime(checkpoint, regime, seed=training.seed), start_arrays)
    stepper = EagerStepper(
        network_from(start.submodel, start.arrays, is_shared=True),
        recompute=training.recompute,
        threads=threads,
        torch_device=torch_device,
    )
    return ReadyClient(
        stepper=stepper,
        name="eager",
        base_sha256=base_sha256(start.arrays),
        open_start=lambda: start,
    )


def _compiled(
    source: Checkpoint | Bundle,
    regime: Regime,
    start_arrays: Arrays | None,
    training: LocalTraining,
    name: CompiledName,
    *,
    threads: int | None,
) -> ReadyClient:
    """Make ready to train with a compiled step of a bundle."""
    if not isinstance(source, Bundle):
        raise ValueError(f"training with {name} takes a bundle with a compiled step")
    if training.recompute:
        raise ValueError("whether a compiled step computes blocks again was settled in the export")
    step = step_for(source, regime, name)
    check_batch_size(step, name, training.batch_size)

    def open_start() -> Checkpoint:
        return starting_from(read_start(source, step), start_arrays)

    match name:
        case "onnx":
            from reefl_edge.finetune.steppers.onnx import OnnxStepper

            stepper: Stepper = OnnxStepper.open(
                source, step, threads=threads or default_threads(), arrays=start_arrays
            )
        case "executorch":
            with needs_extra("training with ExecuTorch", ("torch", "executorch"), "executorch"):
                from reefl_edge.finetune.steppers.executorch import ExecuTorchStepper

            stepper = ExecuTorchStepper.open(
                source, step, threads=threads or default_threads(), arrays=start_arrays
            )
        case _:
            assert_never(name)
    return ReadyClient(
        stepper=stepper,
        name=name,
        base_sha256=(
            step.base_sha256 if start_arrays is None else base_sha256(open_start().arrays)
        ),
        open_start=open_start,
    )


def starting_from(start: Checkpoint, arrays: Arrays | None) -> Checkpoint:
    """Return a start with other trained arrays; None keeps its own."""
    if arrays is None:
        return start
    check_trained(arrays, start.submodel)
    floats = {name: np.ascontiguousarray(array, np.float32) for name, array in arrays.items()}
    return replace(start, arrays={**start.arrays, **floats})

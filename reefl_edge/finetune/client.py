"""What does a client do in a round: which arrays does it start from, and what does it send back?

The one road by which a client trains: the command, the demo, and whoever trains on a device or in a
federation. What comes out is an *update*, the trained arrays alone.
"""

from dataclasses import dataclass, replace
from typing import Literal, assert_never

from reefl_edge.array_files.safetensors import Arrays, not_finite
from reefl_edge.bundles.bundle import Bundle
from reefl_edge.bundles.checkpoint import bundled_checkpoint
from reefl_edge.checkpoints.checkpoint import Checkpoint
from reefl_edge.checkpoints.hashes import base_sha256, weights_sha256
from reefl_edge.checkpoints.metadata import Provenance
from reefl_edge.checkpoints.update import Update, apply_update
from reefl_edge.data.dataset import Dataset
from reefl_edge.data.hashes import dataset_sha256
from reefl_edge.errors import DivergenceError
from reefl_edge.extras import needs_extra
from reefl_edge.finetune.checkpoints import TrainingCheckpoints
from reefl_edge.finetune.loop import History, OnStep, train
from reefl_edge.finetune.state_file import TrainingIdentity
from reefl_edge.finetune.steppers.base import Stepper, check_trained
from reefl_edge.finetune.training import LocalTraining
from reefl_edge.submodel import Regime

StepperName = Literal["eager"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientResult:
    """What local training gave.

    Attributes:
        update: The trained arrays, and what they were trained from.
        history: What happened, step by step.
        start: What training started from, under the regime.
    """

    update: Update
    history: History
    start: Checkpoint

    @property
    def trained(self) -> Checkpoint:
        """The whole checkpoint after training."""
        return apply_update(self.start, self.update)


def train_client(
    source: Checkpoint | Bundle,
    regime: Regime,
    dataset: Dataset,
    training: LocalTraining,
    *,
    start_arrays: Arrays | None = None,
    stepper: StepperName = "eager",
    threads: int | None = None,
    torch_device: str = "cpu",
    checkpoints: TrainingCheckpoints | None = None,
    on_step: OnStep | None = None,
) -> ClientResult:
    """Train a client's sub-model on its own data.

    Args:
        source: The sub-model, as deep as the client trains it: a checkpoint, or a bundle that was
            exported at that depth with a float32 ONNX artifact, which holds one.
        regime: Which of its arrays are trained; adapters that it lacks are drawn by the seed.
        dataset: The client's examples; images of the network's size.
        training: The settings.
        start_arrays: Trained arrays to start from instead of the source's own, by name: what the
            server sends in a round.
        stepper: What computes the steps.
        threads: Threads to compute with; None for what the library takes.
        torch_device: Where the eager stepper computes.
        checkpoints: Where training is kept, and goes on from after it was stopped. What it then
            gives is, bit for bit, what it would have given, on as many threads of the same device.
        on_step: Called after every step with the steps done, those to do, and what the step saw.

    Raises:
        ValueError: The dataset is empty or does not fit, the regime has no place for the source's
            adapters, or ``start_arrays`` are not those that it trains.
        DivergenceError: A loss, or a trained array, is no longer finite.
        InputError: The bundle holds no checkpoint, or a file of it is missing or changed; or the
            training checkpoints are those of another training, or damaged.
        OSError: A training checkpoint cannot be written.
        MissingToolchainError: The stepper's package is not installed.
    """
    if checkpoints is not None:
        checkpoints.check()
    checkpoint = bundled_checkpoint(source)[0] if isinstance(source, Bundle) else source
    start = _start(checkpoint, regime, start_arrays, seed=training.seed)
    stepping = _stepper(stepper, start, training, threads=threads, torch_device=torch_device)
    opened = None
    if checkpoints is not None:
        opened = checkpoints.opened(_identity(stepper, start, dataset, training))
    history = train(stepping, dataset, training, checkpoints=opened, on_step=on_step)
    arrays = stepping.arrays()
    _check_finite(arrays)
    provenance = Provenance(
        base_sha256=base_sha256(start.arrays),
        server_round=training.server_round,
        num_examples=history.num_examples,
    )
    update = Update(submodel=start.submodel, arrays=arrays, provenance=provenance)
    return ClientResult(update=update, history=history, start=start)


def _start(
    source: Checkpoint, regime: Regime, start_arrays: Arrays | None, *, seed: int
) -> Checkpoint:
    with needs_extra("fine-tuning", "torch", "train"):
        from reefl_edge.models.regime import with_regime
    start = with_regime(source, regime, seed=seed)
    if start_arrays is None:
        return start
    check_trained(start_arrays, start.submodel)
    return replace(start, arrays={**start.arrays, **start_arrays})


def _identity(
    stepper: StepperName, start: Checkpoint, dataset: Dataset, training: LocalTraining
) -> TrainingIdentity:
    return TrainingIdentity(
        stepper=stepper,
        submodel=start.submodel,
        weights_sha256=weights_sha256(start.arrays),
        data_sha256=dataset_sha256(dataset),
        training=training,
    )


def _stepper(
    name: StepperName,
    start: Checkpoint,
    training: LocalTraining,
    *,
    threads: int | None,
    torch_device: str,
) -> Stepper:
    match name:
        case "eager":
            with needs_extra("fine-tuning", "torch", "train"):
                from reefl_edge.finetune.steppers.eager import EagerStepper
                from reefl_edge.models.arrays import network_from
            return EagerStepper(
                network_from(start.submodel, start.arrays),
                recompute=training.recompute,
                threads=threads,
                torch_device=torch_device,
            )
        case _:
            assert_never(name)


def _check_finite(arrays: Arrays) -> None:
    """Refuse arrays that would poison whatever they are merged into."""
    if (name := not_finite(arrays)) is not None:
        raise DivergenceError(f"training diverged, {name} is not finite; lower the learning rate")

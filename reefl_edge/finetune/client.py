"""What does a client do in a round: which arrays does it start from, and what does it send back?

The one road by which a client trains: the command, the demo, and whoever trains on a device or in a
federation. What comes out is an *update*, the trained arrays alone.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from reefl_edge.array_files.safetensors import Arrays, not_finite
from reefl_edge.bundles.bundle import Bundle
from reefl_edge.checkpoints.checkpoint import Checkpoint
from reefl_edge.checkpoints.hashes import weights_sha256
from reefl_edge.checkpoints.metadata import Provenance
from reefl_edge.checkpoints.update import Update, apply_update
from reefl_edge.data.dataset import Dataset
from reefl_edge.data.hashes import dataset_sha256
from reefl_edge.errors import DivergenceError
from reefl_edge.finetune.checkpoints import TrainingCheckpoints
from reefl_edge.finetune.compiled import StepperName
from reefl_edge.finetune.loop import History, OnStep, train
from reefl_edge.finetune.ready import ReadyClient, ready_client
from reefl_edge.finetune.state_file import TrainingIdentity
from reefl_edge.finetune.training import LocalTraining
from reefl_edge.submodel import Regime


@dataclass(frozen=True, kw_only=True)
class ClientResult:
    """What local training gave.

    Attributes:
        update: The trained arrays, and what they were trained from.
        history: What happened, step by step.
        open_start: Reads what training started from.
    """

    update: Update
    history: History
    open_start: Callable[[], Checkpoint]

    @cached_property
    def start(self) -> Checkpoint:
        """What training started from, under the regime; a compiled step has no need to read it."""
        return self.open_start()

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
    order: Sequence[int] | None = None,
    checkpoints: TrainingCheckpoints | None = None,
    on_step: OnStep | None = None,
) -> ClientResult:
    """Train a client's sub-model on its own data.

    Args:
        source: The sub-model, as deep as the client trains it: a checkpoint, or a bundle that was
            exported at that depth with a float32 ONNX artifact, which holds one. A compiled step
            takes a bundle that has it.
        regime: Which of its arrays are trained; adapters that it lacks are drawn by the seed, or
            were when the step was compiled.
        dataset: The client's examples; images of the network's size.
        training: The settings.
        start_arrays: Trained arrays to start from instead of the source's own, by name: what the
            server sends in a round.
        stepper: What computes the steps.
        threads: Threads to compute with; None for what the library takes.
        torch_device: Where the eager stepper computes.
        order: Which example comes when, as ``loop.drawn_order`` gives it; None to draw it.
        checkpoints: Where training is kept, and goes on from after it was stopped. What it then
            gives is, bit for bit, what it would have given, on as many threads of the same device.
        on_step: Called after every step with the steps done, those to do, and what the step saw.

    Raises:
        ValueError: The dataset is empty or does not fit, the regime has no place for the source's
            adapters, ``start_arrays`` are not those that it trains, or a compiled step is asked for
            with a checkpoint, a larger batch, or recomputation that it does not do.
        DivergenceError: A loss, or a trained array, is no longer finite.
        InputError: The bundle holds no checkpoint, or no step of the regime, or a file of it is
            missing or changed; or the training checkpoints are those of another training, or
            damaged.
        OSError: A training checkpoint cannot be written.
        MissingToolchainError: The stepper's package is not installed.
    """
    if checkpoints is not None:
        checkpoints.check()
    client = ready_client(
        source,
        regime,
        training,
        start_arrays=start_arrays,
        stepper=stepper,
        threads=threads,
        torch_device=torch_device,
    )
    return train_ready(
        client, dataset, training, order=order, checkpoints=checkpoints, on_step=on_step
    )


def train_ready(
    client: ReadyClient,
    dataset: Dataset,
    training: LocalTraining,
    *,
    order: Sequence[int] | None = None,
    checkpoints: TrainingCheckpoints | None = None,
    on_step: OnStep | None = None,
) -> ClientResult:
    """Train what was made ready, from where it starts; see ``train_client``.

    Args:
        client: What is ready to train.
        dataset: The client's examples; images of the network's size.
        training: The settings; whether to compute again was settled when it was made ready.
        order: As for ``train_client``.
        checkpoints: As for ``train_client``.
        on_step: As for ``train_client``.
    """
    opened = None
    if checkpoints is not None:
        opened = checkpoints.opened(_identity(client, dataset, training))
    history = train(
        client.stepper, dataset, training, order=order, checkpoints=opened, on_step=on_step
    )
    arrays = client.stepper.arrays()
    _check_finite(arrays)
    provenance = Provenance(
        base_sha256=client.base_sha256,
        server_round=training.server_round,
        num_examples=history.num_examples,
    )
    update = Update(submodel=client.stepper.submodel, arrays=arrays, provenance=provenance)
    return ClientResult(update=update, history=history, open_start=client.open_start)


def _identity(client: ReadyClient, dataset: Dataset, training: LocalTraining) -> TrainingIdentity:
    return TrainingIdentity(
        stepper=client.name,
        submodel=client.stepper.submodel,
        weights_sha256=weights_sha256(client.open_start().arrays),
        data_sha256=dataset_sha256(dataset),
        training=training,
    )


def _check_finite(arrays: Arrays) -> None:
    """Refuse arrays that would poison whatever they are merged into."""
    if (name := not_finite(arrays)) is not None:
        raise DivergenceError(f"training diverged, {name} is not finite; lower the learning rate")

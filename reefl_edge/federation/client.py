"""What does a node do with a task of the server?

It holds its own model to the server's, trains from the arrays that came, and replies. Nothing is
kept from one round to the next but what takes long to build: the network, or the compiled step, of
each depth. Whatever goes wrong becomes a reply that says so.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from reefl_edge.bundles.bundle import Bundle
from reefl_edge.checkpoints.checkpoint import Checkpoint
from reefl_edge.checkpoints.hashes import frozen_sha256
from reefl_edge.data.dataset import Dataset
from reefl_edge.errors import InputError, ReeflEdgeError
from reefl_edge.federation.messages import ClientReply, ClientTask
from reefl_edge.finetune.client import ClientResult, train_ready
from reefl_edge.finetune.compiled import StepperName
from reefl_edge.finetune.ready import ReadyClient, ready_client
from reefl_edge.submodel import Submodel

_log = logging.getLogger(__name__)


class Trainer:
    """Trains in this process, on what it keeps ready.

    Args:
        model: A checkpoint, which is cut at the depth of a task; or a bundle of one depth.
        stepper: What computes the steps; a compiled one takes a bundle that has it.
        threads: Threads to compute with; None for what the library takes.
        torch_device: Where the eager stepper computes.
    """

    def __init__(
        self,
        model: Checkpoint | Bundle,
        *,
        stepper: StepperName = "eager",
        threads: int | None = None,
        torch_device: str = "cpu",
    ) -> None:
        self._model = model
        self._stepper = stepper
        self._threads = threads
        self._torch_device = torch_device
        self._ready: dict[tuple[Submodel, bool], _Ready] = {}

    def train(self, task: ClientTask, dataset: Dataset) -> ClientResult:
        """Train as a task says.

        Raises:
            InputError: The model is another than the server's.
            ReeflEdgeError: As for ``train_client``.
            ValueError: As for ``train_client``.
        """
        ready = self._ready_for(task)
        check_frozen(ready.frozen_sha256, task)
        client = ready.client.restarted(task.arrays, base_sha256=task.base_sha256)
        return train_ready(client, dataset, task.training)

    def _ready_for(self, task: ClientTask) -> "_Ready":
        key = (task.submodel, task.training.recompute)
        if key not in self._ready:
            client = ready_client(
                self._at(task.submodel.max_exit),
                task.submodel.regime,
                task.training,
                stepper=self._stepper,
                threads=self._threads,
                torch_device=self._torch_device,
            )
            check_same_submodel(client.stepper.submodel, task.submodel)
            frozen = frozen_sha256(client.open_start().arrays, task.submodel.regime)
            self._ready[key] = _Ready(client, frozen)
        return self._ready[key]

    def _at(self, max_exit: int) -> Checkpoint | Bundle:
        """Return the model at a depth; a bundle has only its own."""
        model = self._model
        if isinstance(model, Checkpoint) and max_exit < model.submodel.num_exits:
            return model.cut(max_exit)
        return model


@dataclass(frozen=True, slots=True)
class _Ready:
    """What is ready to train, and the identity of the arrays that it does not train."""

    client: ReadyClient
    frozen_sha256: str


class FederatedClient:
    """Does what the server asks of a client.

    Args:
        train: Trains as a task says, on examples: ``Trainer.train``, or the same on a device.
        dataset_of: Returns a client's examples, at the size of the network.
    """

    def __init__(
        self,
        train: Callable[[ClientTask, Dataset], ClientResult],
        dataset_of: Callable[[str], Dataset],
    ) -> None:
        self._train = train
        self._dataset_of = dataset_of

    def train(self, task: ClientTask) -> ClientReply:
        """Train, and reply; what goes wrong is a reply, too."""
        if task.refusal is not None:
            _log.warning("%s: the server refused its last update: %s", task.client, task.refusal)
        try:
            result = self._train(task, self._dataset_of(task.client))
        except (ReeflEdgeError, ValueError, OSError) as error:
            return ClientReply(client=task.client, update=None, problem=str(error))
        return ClientReply(
            client=task.client,
            update=result.update,
            losses=result.history.losses,
            teacher_counts=result.history.teacher_counts,
        )


def check_same_submodel(own: Submodel, asked: Submodel) -> None:
    """Refuse to train another sub-model than the server asks for.

    Raises:
        InputError: It is another; in what.
    """
    if own == asked:
        return
    if own.max_exit != asked.max_exit:
        raise InputError(
            f"its model goes to exit {own.max_exit}, the server asks for exit {asked.max_exit}"
        )
    raise InputError(
        "its model is of another architecture, or has other exits, than the server's; give it the "
        "federation's model"
    )


def check_frozen(own_sha256: str, task: ClientTask) -> None:
    """Refuse to train arrays beside others than the server's.

    Raises:
        InputError: What the regime does not train is another here than there.
    """
    if own_sha256 != task.frozen_sha256:
        raise InputError(
            f"its model's frozen arrays are {own_sha256[:12]}, the server's "
            f"{task.frozen_sha256[:12]}; give it the federation's model"
        )

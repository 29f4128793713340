"""Federations whose clients learn by adding: what comes of a round can be worked out by hand."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from reefl_edge.array_files.safetensors import Arrays
from reefl_edge.checkpoints.checkpoint import Checkpoint
from reefl_edge.checkpoints.metadata import Provenance
from reefl_edge.checkpoints.update import Update
from reefl_edge.federation.depths import Depth
from reefl_edge.federation.guard import Guard
from reefl_edge.federation.messages import ClientReply, ClientTask
from reefl_edge.federation.optimizer import FedAvg, ServerOptimizer
from reefl_edge.federation.privacy import Privacy
from reefl_edge.federation.rules import Participant, RoundRules
from reefl_edge.federation.server import Server
from reefl_edge.finetune.training import LocalTraining
from reefl_edge.submodel import Submodel
from tests.fakes.submodels import deep_submodel

# Exits after blocks 2, 5, 8 and 11.
WHOLE = deep_submodel(num_exits=4, max_exit=3, regime="lora")


def start_of(submodel: Submodel, *, seed: int = 0) -> Checkpoint:
    """Return a model of small numbers drawn around zero."""
    generator = np.random.default_rng(seed)
    arrays = {
        spec.name: (0.1 * generator.standard_normal(spec.shape)).astype(np.float32)
        for spec in submodel.arrays()
    }
    return Checkpoint(submodel=submodel, arrays=arrays)


def server_of(
    start: Checkpoint,
    *,
    optimizer: ServerOptimizer | None = None,
    clip_norm: float | None = None,
    privacy: Privacy | None = None,
    secret: int | None = 0,
    **rules: Any,
) -> Server:
    """Return the server of a federation of that model."""
    return Server(
        start,
        RoundRules(**{"clients_per_round": 4, **rules}),
        LocalTraining(),
        optimizer=optimizer or FedAvg(),
        guard=Guard(bounds_norms=privacy is None),
        clip_norm=clip_norm,
        privacy=privacy,
        secret=secret,
    )


def participants(*max_exits: int) -> list[Participant]:
    """Return clients of such depths, called ``client-0`` and so on."""
    return [
        Participant(client=f"client-{index}", depth=Depth(max_exit=max_exit), max_examples=100)
        for index, max_exit in enumerate(max_exits)
    ]


def moved(task: ClientTask, by: float, *, num_examples: int = 10) -> ClientReply:
    """Reply to a task with its arrays, all moved by as much; rows beyond the depth stay."""
    arrays: Arrays = {
        spec.name: task.arrays[spec.name]
        + np.float32(by) * _trained_rows(spec.is_row_wise, spec.shape[0], task.submodel.depth)
        if spec.is_row_wise
        else task.arrays[spec.name] + np.float32(by)
        for spec in task.submodel.trained_arrays()
    }
    provenance = Provenance(
        base_sha256=task.base_sha256,
        server_round=task.training.server_round,
        num_examples=num_examples,
    )
    update = Update(submodel=task.submodel, arrays=arrays, provenance=provenance)
    return ClientReply(client=task.client, update=update, losses=(2.0, 1.0), teacher_counts=(1, 1))


def _trained_rows(is_row_wise: bool, num_rows: int, depth: int) -> Any:
    assert is_row_wise
    return (np.arange(num_rows) <= depth).astype(np.float32)[:, None]


class FakeExchange:
    """Gives each client's reply as a function says; notes the tasks.

    Args:
        reply: Returns a client's reply; None for one that never comes.
    """

    def __init__(self, reply: Callable[[ClientTask], ClientReply | None]) -> None:
        self._reply = reply
        self.tasks: list[ClientTask] = []

    def exchange(
        self,
        tasks: Iterable[ClientTask],
        deadline_s: float | None,  # noqa: ARG002
    ) -> Iterator[ClientReply]:
        """Give the replies that come."""
        for task in tasks:
            self.tasks.append(task)
            if (reply := self._reply(task)) is not None:
                yield reply


def failed(task: ClientTask, problem: str) -> ClientReply:
    """Reply that it went wrong."""
    return ClientReply(client=task.client, update=None, problem=problem)


def poisoned(reply: ClientReply) -> ClientReply:
    """Return a reply whose first array holds NaN."""
    assert reply.update is not None
    name, array = next(iter(reply.update.arrays.items()))
    arrays = {**reply.update.arrays, name: np.full_like(array, np.nan)}
    return replace(reply, update=replace(reply.update, arrays=arrays))

"""What crosses between the server and a client in a round, whatever engine carries it?"""

from dataclasses import dataclass

from reefl_edge.array_files.safetensors import Arrays
from reefl_edge.checkpoints.update import Update
from reefl_edge.finetune.training import LocalTraining
from reefl_edge.submodel import Submodel


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientTask:
    """What the server asks of a client in a round.

    Attributes:
        client: Who: the name that a node gives itself, or such as ``client-17`` in a simulation.
        submodel: What it trains: the model cut at the client's depth, under the regime.
        arrays: The trained arrays of that depth to start from, and no others.
        training: The settings, with the round, and a seed that depends on the run's, the round and
            the client alone.
        frozen_sha256: Identity of the arrays that the regime does not train, cut at the depth: the
            client's own model is held to it.
        base_sha256: Identity of all plain arrays of the round, cut at the depth; it goes into the
            update's provenance.
        refusal: Why the client's last update was refused, if it was.
    """

    client: str
    submodel: Submodel
    arrays: Arrays
    training: LocalTraining
    frozen_sha256: str
    base_sha256: str
    refusal: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientReply:
    """What a client answers.

    Attributes:
        client: Who.
        update: What it trained; None where it failed.
        losses: The loss of every step, before the step.
        teacher_counts: On how many batches each exit taught.
        problem: Why it failed.
    """

    client: str
    update: Update | None
    losses: tuple[float, ...] = ()
    teacher_counts: tuple[int, ...] = ()
    problem: str | None = None

    def __post_init__(self) -> None:
        if (self.update is None) == (self.problem is None):
            raise ValueError(f"{self.client} sends either an update or a problem")

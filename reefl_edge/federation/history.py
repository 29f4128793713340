"""What happened in a round of a federation?"""

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientRound:
    """What became of one client that was asked in a round.

    Attributes:
        client: Who.
        max_exit: The depth that it was to train.
        num_examples: How many it trained on.
        loss: Mean over its steps; None where none was reported.
        problem: Why its update does not count: it failed, came late or was refused; None if it
            counts.
        device_s: How long its device takes for a round, by the assignment; None where unknown.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    client: str
    max_exit: int
    num_examples: int = 0
    loss: float | None = None
    problem: str | None = None
    device_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """How good the model is at every exit, on the pooled test examples.

    Attributes:
        accuracy: Share that each exit gets right.
        losses: Mean cross-entropy of each exit.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    accuracy: tuple[float, ...]
    losses: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundRecord:
    """What happened in a round.

    Attributes:
        server_round: The round, from 1; 0 stands for before the first.
        num_attempts: How often it was begun: more than once where too few clients answered.
        clients: Those asked in the last attempt, in the order in which they were drawn.
        bytes_down: Of the arrays that went to clients, in all attempts.
        bytes_up: Of the arrays that came back.
        duration_s: From the first task to the new model, evaluation left out.
        evaluation: Of the new model; None where it was not evaluated.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    server_round: int
    num_attempts: int
    clients: tuple[ClientRound, ...]
    bytes_down: int
    bytes_up: int
    duration_s: float
    evaluation: Evaluation | None = None

    @property
    def counted(self) -> tuple[ClientRound, ...]:
        """The clients whose updates were averaged."""
        return tuple(each for each in self.clients if each.problem is None)

    @property
    def left_out(self) -> tuple[ClientRound, ...]:
        """The clients that were asked, and whose updates do not count."""
        return tuple(each for each in self.clients if each.problem is not None)

    @property
    def train_loss(self) -> float | None:
        """Mean of the losses of the clients that count; None where none was reported."""
        losses = [each.loss for each in self.counted if each.loss is not None]
        return sum(losses) / len(losses) if losses else None

    @property
    def device_s(self) -> float | None:
        """How long the slowest of the clients that count takes, by the assignment, where known."""
        known = [each.device_s for each in self.counted if each.device_s is not None]
        return max(known, default=None)

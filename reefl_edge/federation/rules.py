"""Who can be asked in a round of a federation, and what makes it count?"""

from dataclasses import dataclass

from reefl_edge.federation.depths import Depth


@dataclass(frozen=True, slots=True, kw_only=True)
class Participant:
    """A client that can be asked.

    Attributes:
        client: Its name.
        depth: How deep it goes.
        max_examples: The most examples that it can have trained on.
    """

    client: str
    depth: Depth
    max_examples: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundRules:
    """What makes a round.

    Attributes:
        clients_per_round: How many clients are asked; all, where fewer are there.
        min_clients: How many updates it takes for a round to count.
        deadline_s: How long the server waits for replies; None for as long as it takes.
        max_attempts: How often a round is begun before the federation gives up.
        seed: Of the draw of the clients, and of their training.

    Raises:
        ValueError: A number is out of range.
    """

    clients_per_round: int
    min_clients: int = 1
    deadline_s: float | None = None
    max_attempts: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.min_clients <= self.clients_per_round:
            raise ValueError(
                "a round needs at least 1 client and at most those it asks, got "
                f"{self.min_clients} of {self.clients_per_round}"
            )
        if self.deadline_s is not None and not self.deadline_s > 0:
            raise ValueError(f"the deadline of a round must be positive, got {self.deadline_s:g}")
        if self.max_attempts < 1:
            raise ValueError(f"a round is begun at least once, got {self.max_attempts}")
        if self.seed < 0:
            raise ValueError(f"the seed must not be negative, got {self.seed}")

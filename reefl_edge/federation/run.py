"""How does a federation go from its first round to its last?

Whatever carries its messages, and whoever its clients are: rounds one after the other, the model
evaluated between them, the state kept after each, and everybody told who watches.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from reefl_edge.federation.evaluation import Evaluate
from reefl_edge.federation.exchange import Exchange
from reefl_edge.federation.history import RoundRecord
from reefl_edge.federation.rules import Participant
from reefl_edge.federation.server import Server
from reefl_edge.federation.state_file import StateFiles

# Told of every round as soon as it is over; round 0 is what there was before the first.
OnRound = Callable[[RoundRecord], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Federation:
    """What a federation is made of.

    Attributes:
        server: What holds the model.
        num_rounds: How many rounds there are.
        evaluate: Evaluates the model; None where there is nothing to evaluate on.
        evaluate_every: After how many rounds; after the last one, always.
        states: Where the state is kept; None for nowhere.
        resume: Go on from the last state that is kept.
    """

    server: Server
    num_rounds: int
    evaluate: Evaluate | None = None
    evaluate_every: int = 1
    states: StateFiles | None = None
    resume: bool = False

    def run(
        self,
        participants: Callable[[], Sequence[Participant]],
        exchange: Exchange,
        on_round: OnRound,
    ) -> None:
        """Run all rounds that are left.

        Args:
            participants: Returns who can be asked now.
            exchange: What carries tasks and replies.
            on_round: Told of every round.

        Raises:
            FederationError: A round had too few updates, however often it was begun.
            InputError: What is to be gone on from is damaged, or another federation's.
            OSError: The state cannot be written.
        """
        first = self._resumed() + 1
        if first == 1:
            nothing = RoundRecord(
                server_round=0, num_attempts=0, clients=(), bytes_down=0, bytes_up=0, duration_s=0.0
            )
            on_round(self._evaluated(nothing))
        for server_round in range(first, self.num_rounds + 1):
            record = self.server.run_round(server_round, participants, exchange)
            self._keep()
            on_round(self._evaluated(record))

    def _resumed(self) -> int:
        """Go to the state that is kept, if it is wanted; return the last round that counted."""
        if self.states is None:
            return 0
        if not self.resume:
            self.states.check_empty()
            return 0
        state = self.states.newest()
        if state is None:
            return 0
        self.server.load(state)
        return state.server_round

    def _keep(self) -> None:
        if self.states is not None:
            self.states.keep(self.server.state())

    def _evaluated(self, record: RoundRecord) -> RoundRecord:
        is_due = record.server_round % self.evaluate_every == 0
        if self.evaluate is None or not (is_due or record.server_round == self.num_rounds):
            return record
        return replace(record, evaluation=self.evaluate(self.server.checkpoint))

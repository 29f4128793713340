"""How do sub-models of mixed depth federate under Flower's own notion of a strategy?

Each client receives the arrays of its own depth and regime alone, and each array is averaged over
the clients that hold it. ``start`` is ours: replies are taken as they come, a round has a deadline,
one with too few replies is repeated, and a federation goes on after it was stopped. Under Flower's
``Strategy.start`` the same rounds run, but for those four.
"""

from collections.abc import Callable, Iterable, Sequence
from logging import INFO
from typing import Any

from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Result, Strategy
from flwr.supercore import log

from reefl_edge.federation.flower.exchange import FlowerExchange, Route, task_message
from reefl_edge.federation.flower.records import named_arrays, named_record, read_reply
from reefl_edge.federation.history import RoundRecord
from reefl_edge.federation.rules import Participant
from reefl_edge.federation.run import Federation, OnRound
from reefl_edge.federation.server import OpenRound


class SubmodelFedAvg(Strategy):
    """Federated averaging of sub-models.

    Args:
        federation: What holds the model, and runs the rounds.
        participants: Returns who can be asked now.
        route: Which node computes for which client.
        on_round: Told of every round.
    """

    def __init__(
        self,
        federation: Federation,
        participants: Callable[[], Sequence[Participant]],
        route: Route,
        on_round: OnRound,
    ) -> None:
        self._federation = federation
        self._participants = participants
        self._route = route
        self._on_round = on_round
        self._opened: OpenRound | None = None
        self._clients: dict[int, list[str]] = {}

    @property
    def arrays(self) -> ArrayRecord:
        """The trained arrays of the whole model, by name."""
        return named_record(self._federation.server.arrays)

    def start(
        self,
        grid: Grid,
        initial_arrays: ArrayRecord | None = None,
        *_: Any,
        **__: Any,
    ) -> Result:
        """Run the federation, as its settings say.

        Args:
            grid: Flower's connection to the nodes.
            initial_arrays: What to begin with; None for what the federation was put together of.
        """
        if initial_arrays is not None:
            self._federation.server.arrays = named_arrays(initial_arrays)
        result = Result()

        def on_round(record: RoundRecord) -> None:
            self._on_round(record)
            if record.server_round:
                result.train_metrics_clientapp[record.server_round] = train_metrics(record)
            if record.evaluation is not None:
                metrics = MetricRecord({"accuracy": list(record.evaluation.accuracy)})
                result.evaluate_metrics_serverapp[record.server_round] = metrics

        self._federation.run(self._participants, FlowerExchange(grid, self._route), on_round)
        result.arrays = self.arrays
        return result

    def configure_train(
        self,
        server_round: int,
        arrays: ArrayRecord,
        config: ConfigRecord,  # noqa: ARG002
        grid: Grid,  # noqa: ARG002
    ) -> Iterable[Message]:
        """Give a message for each client that is drawn, one by one."""
        server = self._federation.server
        server.arrays = named_arrays(arrays)
        self._opened = server.begin(server_round, self._participants())
        self._clients = {}
        for place, task in enumerate(self._opened.tasks()):
            node = self._route.node_of(task.client, place)
            self._clients.setdefault(node, []).append(task.client)
            yield task_message(task, node, server.rules.deadline_s)

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Average replies as they come; None where too few counted."""
        opened = self._opened
        if opened is None:
            raise ValueError(f"round {server_round} was not begun")
        for message in replies:
            opened.take(read_reply(message, self._clients[message.metadata.src_node_id].pop(0)))
        record = opened.end()
        self._on_round(record)
        return self.arrays if opened.counts else None, train_metrics(record)

    def configure_evaluate(
        self,
        server_round: int,  # noqa: ARG002
        arrays: ArrayRecord,  # noqa: ARG002
        config: ConfigRecord,  # noqa: ARG002
        grid: Grid,  # noqa: ARG002
    ) -> Iterable[Message]:
        """Ask no client: the model is evaluated on the server, on one pool of examples."""
        return []

    def aggregate_evaluate(
        self,
        server_round: int,  # noqa: ARG002
        replies: Iterable[Message],  # noqa: ARG002
    ) -> MetricRecord | None:
        """Return nothing; see ``configure_evaluate``."""
        return None

    def summary(self) -> None:
        """Say what is federated."""
        server = self._federation.server
        log(
            INFO,
            "\t└──> %s of %d exits, %d arrays trained, %d clients a round",
            server.submodel.regime,
            server.submodel.num_exits,
            len(server.arrays),
            server.rules.clients_per_round,
        )


def train_metrics(record: RoundRecord) -> MetricRecord:
    """Return what a round's clients said, as Flower keeps it."""
    counted = record.counted
    return MetricRecord(
        {
            "num-clients": len(counted),
            "num-examples": sum(client.num_examples for client in counted),
            "train-loss": float("nan") if record.train_loss is None else record.train_loss,
        }
    )

"""Do the same rounds run under Flower's own notion of a strategy, and by ours?"""

from collections.abc import Iterator
from typing import cast

import numpy as np
from flwr.app import Message, RecordDict
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy

from reefl_edge.checkpoints.hashes import weights_sha256
from reefl_edge.federation.flower.exchange import SimulationRoute
from reefl_edge.federation.flower.records import named_arrays, read_task, reply_content
from reefl_edge.federation.flower.strategy import SubmodelFedAvg
from reefl_edge.federation.history import Evaluation, RoundRecord
from reefl_edge.federation.run import Federation
from tests.fakes.federations import WHOLE, FakeExchange, moved, participants, server_of, start_of
from tests.fakes.grids import FakeGrid

START = start_of(WHOLE)
CLIENTS = participants(0, 1, 2, 3, 0, 1, 2, 3)
BY = 0.01


def obey(message: Message) -> RecordDict:
    task = read_task(message.content)
    return reply_content(moved(task, BY * (1 + int(task.client[-1]))))


def strategy_on(
    grid: FakeGrid, *, num_rounds: int = 3
) -> tuple[SubmodelFedAvg, Federation, list[RoundRecord]]:
    records: list[RoundRecord] = []
    federation = Federation(
        server=server_of(START, min_clients=2),
        num_rounds=num_rounds,
        evaluate=lambda _: Evaluation(accuracy=(0.1, 0.2, 0.3, 0.4), losses=(1.0,) * 4),
    )
    route = SimulationRoute(grid.get_node_ids)
    return (
        SubmodelFedAvg(federation, lambda: CLIENTS, route, records.append),
        federation,
        records,
    )


def expected_arrays(num_rounds: int = 3) -> str:
    """Return the identity of what an exchange without Flower gives."""
    server = server_of(START, min_clients=2)
    exchange = FakeExchange(lambda task: moved(task, BY * (1 + int(task.client[-1]))))
    for server_round in range(1, num_rounds + 1):
        server.run_round(server_round, lambda: CLIENTS, exchange)
    return weights_sha256(server.arrays)


def test_our_start_gives_what_the_rounds_give_without_flower() -> None:
    grid = FakeGrid(obey)
    strategy, federation, records = strategy_on(grid)

    result = strategy.start(cast(Grid, grid))

    assert weights_sha256(federation.server.arrays) == expected_arrays()
    assert weights_sha256(named_arrays(result.arrays)) == expected_arrays()
    assert [record.server_round for record in records] == [0, 1, 2, 3]
    assert list(result.evaluate_metrics_serverapp[3]["accuracy"]) == [0.1, 0.2, 0.3, 0.4]  # type: ignore[arg-type]
    assert result.train_metrics_clientapp[1]["num-clients"] == 4


def test_flowers_own_start_gives_the_same() -> None:
    grid = FakeGrid(obey)
    strategy, _, records = strategy_on(grid)

    result = Strategy.start(strategy, cast(Grid, grid), strategy.arrays, num_rounds=3)

    assert weights_sha256(named_arrays(result.arrays)) == expected_arrays()
    assert [record.server_round for record in records] == [1, 2, 3]


def test_replies_may_come_one_by_one() -> None:
    grid = FakeGrid(obey)
    strategy, _, _ = strategy_on(grid)
    messages = list(
        strategy.configure_train(1, strategy.arrays, None, cast(Grid, grid))  # type: ignore[arg-type]
    )
    grid.push_messages(messages)
    taken: list[int] = []

    def replies() -> Iterator[Message]:
        for place, message in enumerate(messages):
            taken.append(place)
            yield Message(obey(message), reply_to=message)

    arrays, metrics = strategy.aggregate_train(1, replies())

    assert taken == [0, 1, 2, 3]
    assert arrays is not None
    assert weights_sha256(named_arrays(arrays)) == expected_arrays(1)
    assert metrics is not None
    assert metrics["num-examples"] == 40


def test_a_round_with_too_few_replies_leaves_flowers_model_as_it_is() -> None:
    grid = FakeGrid(lambda message: obey(message) if message.metadata.dst_node_id == 99 else None)
    strategy, federation, _ = strategy_on(grid)

    Strategy.start(strategy, cast(Grid, grid), strategy.arrays, num_rounds=2)

    assert all(
        np.array_equal(array, START.arrays[name])
        for name, array in federation.server.arrays.items()
    )

"""Do tasks reach the right nodes, few at a time, and replies the server in an order that holds?"""

import random
from typing import cast

import pytest
from flwr.app import Error, Message, RecordDict
from flwr.serverapp import Grid

from reefl_edge.federation.flower.exchange import FlowerExchange, SimulationRoute
from reefl_edge.federation.flower.records import read_task, reply_content
from reefl_edge.federation.messages import ClientTask
from tests.fakes.federations import WHOLE, moved, participants, server_of, start_of
from tests.fakes.grids import FakeGrid

START = start_of(WHOLE)


def obey(message: Message) -> RecordDict:
    return reply_content(moved(read_task(message.content), 0.1))


def tasks(count: int) -> list[ClientTask]:
    opened = server_of(START, clients_per_round=count).begin(1, participants(*[1] * count))
    return list(opened.tasks())


class DirectRoute:
    """Every client has a node of its own."""

    is_ordered = False

    def node_of(self, client: str, place: int) -> int:  # noqa: ARG002
        """Return the client's number."""
        return int(client.rpartition("-")[2])

    def window(self) -> None:
        """Ask all at once."""


def simulated(grid: FakeGrid) -> FlowerExchange:
    return FlowerExchange(cast(Grid, grid), SimulationRoute(grid.get_node_ids))


def test_simulated_tasks_go_to_nodes_in_turns_whatever_their_ids() -> None:
    grid = FakeGrid(obey, nodes=(30, 10, 20))

    list(simulated(grid).exchange(tasks(5), None))

    assert [message.metadata.dst_node_id for message in grid.sent] == [10, 20, 30, 10, 20]


def test_simulated_replies_are_taken_in_the_order_of_the_tasks_however_they_come() -> None:
    generator = random.Random(0)
    grid = FakeGrid(obey, hurry=lambda ids: generator.sample(ids, k=(len(ids) + 1) // 2))
    asked = tasks(12)

    replies = simulated(grid).exchange(asked, None)

    assert [reply.client for reply in replies] == [task.client for task in asked]


def test_only_so_many_simulated_tasks_are_under_way_at_a_time() -> None:
    grid = FakeGrid(obey, nodes=range(2))

    list(simulated(grid).exchange(tasks(9), None))

    assert grid.most_waiting == 3


def test_deployed_replies_are_taken_as_they_come() -> None:
    grid = FakeGrid(obey, hurry=lambda ids: ids[::-1])
    asked = tasks(4)

    replies = list(FlowerExchange(cast(Grid, grid), DirectRoute()).exchange(asked, None))

    assert {reply.client for reply in replies} == {task.client for task in asked}
    nodes = [message.metadata.dst_node_id for message in grid.sent]
    assert nodes == [int(task.client[-1]) for task in asked]


def test_after_the_deadline_no_reply_is_waited_for() -> None:
    grid = FakeGrid(lambda message: obey(message) if message.metadata.dst_node_id else None)

    replies = list(FlowerExchange(cast(Grid, grid), DirectRoute()).exchange(tasks(3), 0.2))

    assert sorted(reply.client for reply in replies) == ["client-1", "client-2"]


def test_late_replies_are_fetched_in_a_later_round_and_count_for_nothing() -> None:
    late = True

    def answer(message: Message) -> RecordDict | None:
        return None if late or message.metadata.dst_node_id == 3 else obey(message)

    grid = FakeGrid(answer)
    exchange = FlowerExchange(cast(Grid, grid), DirectRoute())
    assert not list(exchange.exchange(tasks(3), 0.1))
    assert grid.num_waiting == 3

    late = False
    replies = list(exchange.exchange(tasks(4), 0.5))

    assert sorted(reply.client for reply in replies) == ["client-0", "client-1", "client-2"]
    assert grid.num_waiting == 1, "only the new one of client 3"


def test_a_node_that_crashed_is_a_reply_with_a_problem() -> None:
    grid = FakeGrid(lambda _: Error(code=5, reason="the node is gone"))

    (reply,) = FlowerExchange(cast(Grid, grid), DirectRoute()).exchange(tasks(1), None)

    assert reply.problem == "it failed: the node is gone"


@pytest.mark.parametrize("deadline_s", [None, 30.0])
def test_a_message_does_not_live_much_longer_than_its_round(deadline_s: float | None) -> None:
    grid = FakeGrid(obey)

    list(simulated(grid).exchange(tasks(1), deadline_s))

    ttl = grid.sent[0].metadata.ttl
    assert ttl > 30 * 24 * 3600 if deadline_s is None else 30 < ttl < 120

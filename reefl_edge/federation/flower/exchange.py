"""How do tasks and replies travel by Flower's grid?

Tasks are sent one by one, and replies fetched one by one, or few at a time: neither side ever holds
the messages of a whole round. In a simulation nodes are only places to compute, whatever ids Flower
gives them: tasks go to them in turns, only so many at a time, and replies are taken in the order of
the tasks, so that sums come out the same to the last bit however many workers there are.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from flwr.app import Message, MessageType
from flwr.serverapp import Grid

from reefl_edge.federation.flower.records import read_reply, task_content
from reefl_edge.federation.messages import ClientReply, ClientTask

# How often replies are asked for.
_POLL_S = 0.05
# Replies that are fetched at once, of those that have come.
_FETCHED = 2
# How much longer than its round a message lives: clocks differ.
_GRACE_S = 60.0
# How long it lives where its round may take as long as it takes; Flower's own is half a day.
_YEAR_S = 365 * 24 * 3600.0


class Route(Protocol):
    """Says which node computes for which client, and how many at a time are asked."""

    is_ordered: bool
    """Replies are taken in the order of the tasks."""

    def node_of(self, client: str, place: int) -> int:
        """Return the node for a client, whose task is the ``place``-th of its round."""
        ...

    def window(self) -> int | None:
        """Return how many tasks may be under way at a time; None for all."""
        ...


class FlowerExchange:
    """Carries tasks and replies by a grid.

    Args:
        grid: Flower's connection to the nodes.
        route: Which node computes for which client.
    """

    def __init__(self, grid: Grid, route: Route) -> None:
        self._grid = grid
        self._route = route
        self._late: deque[str] = deque()  # messages whose replies are waited for no longer

    def exchange(
        self, tasks: Iterable[ClientTask], deadline_s: float | None
    ) -> Iterator[ClientReply]:
        """Give replies as they come; see ``Exchange.exchange``."""
        end = None if deadline_s is None else time.monotonic() + deadline_s
        left = enumerate(tasks)
        window = self._route.window()
        waiting: dict[str, str] = {}  # the client by the id of the message that it was sent
        while True:
            while window is None or len(waiting) < window:
                place, task = next(left, (0, None))
                if task is None:
                    break
                node = self._route.node_of(task.client, place)
                waiting[self._sent(task_message(task, node, deadline_s))] = task.client
            if not waiting:
                return
            came = 0
            for reply in self._fetched(waiting):
                came += 1
                yield reply
            if end is not None and time.monotonic() >= end:
                self._late.extend(waiting)
                return
            self._discard_late()
            if not came:
                time.sleep(_POLL_S)

    def _discard_late(self) -> None:
        """Fetch late replies, a few at a time; who does not would leave them in the SuperLink.

        To a message whose time is over it replies itself, and so each is fetched in the end.
        """
        few = [self._late.popleft() for _ in range(min(_FETCHED, len(self._late)))]
        if few:
            came = {
                message.metadata.reply_to_message_id for message in self._grid.pull_messages(few)
            }
            self._late.extend(message_id for message_id in few if message_id not in came)

    def _sent(self, message: Message) -> str:
        (message_id,) = self._grid.push_messages([message])
        return message_id

    def _fetched(self, waiting: dict[str, str]) -> Iterator[ClientReply]:
        """Give the replies that have come, and wait for them no longer."""
        ids = [next(iter(waiting))] if self._route.is_ordered else list(waiting)
        for first in range(0, len(ids), _FETCHED):
            for message in self._grid.pull_messages(ids[first : first + _FETCHED]):
                client = waiting.pop(message.metadata.reply_to_message_id)
                yield read_reply(message, client)


def task_message(task: ClientTask, node: int, deadline_s: float | None) -> Message:
    """Return the message that takes a task to a node."""
    return Message(
        task_content(task),
        dst_node_id=node,
        message_type=MessageType.TRAIN,
        group_id=str(task.training.server_round),
        ttl=_YEAR_S if deadline_s is None else deadline_s + _GRACE_S,
    )


class SimulationRoute:
    """Sends tasks to virtual nodes in turns.

    Args:
        nodes: Returns their ids.
    """

    is_ordered = True

    def __init__(self, nodes: Callable[[], Iterable[int]]) -> None:
        self._nodes = sorted(nodes())

    def node_of(self, client: str, place: int) -> int:  # noqa: ARG002
        """Return the next node; see ``Route.node_of``."""
        return self._nodes[place % len(self._nodes)]

    def window(self) -> int:
        """Return a task for each node, and one that waits."""
        return len(self._nodes) + 1

"""Flower's connection to nodes, without nodes: a function answers."""

from collections.abc import Callable, Iterable
from typing import Any

from flwr.app import Error, Message, RecordDict
from flwr.proto.node_pb2 import NodeInfo

# What a node does with a message; None for one that never answers.
Answer = Callable[[Message], RecordDict | Error | None]


class FakeGrid:
    """Answers messages; the answers are there in the order in which ``hurry`` puts them.

    Args:
        answer: What nodes do.
        nodes: Their ids.
        hurry: Returns the ids of the messages that have their answers by now; None for all.
    """

    def __init__(
        self,
        answer: Answer,
        *,
        nodes: Iterable[int] = (30, 10, 20),
        hurry: Callable[[list[str]], list[str]] | None = None,
    ) -> None:
        self.nodes = list(nodes)
        self.joined_at: dict[int, str] = {}
        self.sent: list[Message] = []
        self.most_waiting = 0
        self._answer = answer
        self._hurry = hurry or (lambda ids: ids)
        self._waiting: dict[str, Message] = {}

    @property
    def num_waiting(self) -> int:
        """Messages whose answers were not fetched."""
        return len(self._waiting)

    def get_node_ids(self) -> list[int]:
        """Return the nodes that are there."""
        return self.nodes

    def get_nodes(self) -> list[NodeInfo]:
        """Return the same nodes, with when each has joined."""
        return [
            NodeInfo(node_id=node, last_activated_at=self.joined_at.get(node))
            for node in self.nodes
        ]

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        """Take messages to nodes."""
        ids = []
        for message in messages:
            message_id = f"message-{len(self.sent)}"
            message.metadata.__dict__["_message_id"] = message_id
            self.sent.append(message)
            self._waiting[message_id] = message
            ids.append(message_id)
        self.most_waiting = max(self.most_waiting, len(self._waiting))
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        """Return the answers that are there, of those that are asked for."""
        asked = set(message_ids)
        found = []
        for message_id in self._hurry(list(self._waiting)):
            if message_id in asked and (reply := self._reply(self._waiting[message_id])):
                del self._waiting[message_id]
                found.append(reply)
        return found

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> list[Message]:
        """Take messages to nodes, and return all answers; nobody is waited for."""
        del timeout
        return self.pull_messages(self.push_messages(messages))

    def _reply(self, message: Message) -> Message | None:
        answer: Any = self._answer(message)
        return None if answer is None else Message(answer, reply_to=message)

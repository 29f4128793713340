"""How do tasks reach clients, and replies the server?

What carries them is an *exchange*; Flower's is in ``flower/exchange.py``. The one here trains in
this process, one client after the other.
"""

from collections.abc import Iterable, Iterator
from typing import Protocol

from reefl_edge.federation.client import FederatedClient
from reefl_edge.federation.messages import ClientReply, ClientTask


class Exchange(Protocol):
    """Carries tasks to clients, and what they reply to the server."""

    def exchange(
        self, tasks: Iterable[ClientTask], deadline_s: float | None
    ) -> Iterator[ClientReply]:
        """Give replies as they come; after the deadline, none.

        Args:
            tasks: One per client; taken as they can be sent.
            deadline_s: How long to wait, from the first task on; None waits for all.
        """
        ...


class LocalExchange:
    """Trains every client in this process.

    Args:
        client: Who does what each of them is asked.
    """

    def __init__(self, client: FederatedClient) -> None:
        self._client = client

    def exchange(
        self,
        tasks: Iterable[ClientTask],
        deadline_s: float | None,  # noqa: ARG002
    ) -> Iterator[ClientReply]:
        """Give the replies in the order of the tasks; see ``Exchange.exchange``."""
        return map(self._client.train, tasks)

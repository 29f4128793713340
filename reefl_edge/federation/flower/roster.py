"""Which nodes are there, and who are they?

Every node is asked by a query, once each time that it joins. Who answers takes part from the next
round on; who is of another version, or of another model, or has no data that fits, is left out, and
named once: mended and started again, it has the same key and so the same id, and is asked again.
"""

import logging
import time
from collections.abc import Container
from dataclasses import dataclass

from flwr.app import ConfigRecord, Message, MessageType, RecordDict
from flwr.serverapp import Grid

from reefl_edge import schema
from reefl_edge.errors import FederationError, InputError
from reefl_edge.federation.assembly import depths_of
from reefl_edge.federation.depths import Depth, Depths
from reefl_edge.federation.node import Hello, own_version
from reefl_edge.federation.rules import Participant
from reefl_edge.federation.settings import FederationSettings
from reefl_edge.submodel import Submodel

# The record of a query and of its answer, and the one text in it.
HELLO, SAID = "hello", "said"
_POLL_S = 0.2

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """A node that takes part."""

    node: int
    order: tuple[int, str]
    participant: Participant


class Roster:
    """Knows the nodes of a deployment; it is the exchange's ``Route``, too.

    Args:
        grid: Flower's connection to the nodes.
        settings: The federation's settings.
        submodel: The whole model.

    Raises:
        InputError: The assignment is damaged, or does not fit the model.
    """

    is_ordered = False

    def __init__(self, grid: Grid, settings: FederationSettings, submodel: Submodel) -> None:
        self._grid = grid
        self._settings = settings
        self._submodel = submodel
        is_own = settings.tiers == "device"
        self._depths: Depths | None = None if is_own else depths_of(settings, submodel)
        self._asked: dict[str, int] = {}  # the node by the id of the query
        self._met: dict[int, str] = {}  # when each node that was asked had joined
        self._known: dict[str, _Known] = {}

    def participants(self) -> list[Participant]:
        """Return who takes part now; wait for enough of them, as long as is set.

        Raises:
            FederationError: Fewer are there than a round needs.
        """
        least, wait_s = self._settings.min_clients, self._settings.wait_for_clients_s
        end = time.monotonic() + wait_s
        while True:
            present = self._present()
            is_late = time.monotonic() >= end
            if (len(present) >= least and not self._asked) or is_late:
                break
            time.sleep(_POLL_S)
        if len(present) < least:
            raise FederationError(
                f"{len(present)} of {least} clients are there after {wait_s:g} s: "
                f"{', '.join(each.participant.client for each in present) or 'none'}; start more "
                "nodes, or lower min-clients"
            )
        return [each.participant for each in present]

    def node_of(self, client: str, place: int) -> int:  # noqa: ARG002
        """Return the client's own node; see ``Route.node_of``."""
        return self._known[client].node

    def window(self) -> None:
        """Ask all at once; see ``Route.window``."""

    def _present(self) -> list[_Known]:
        """Return who is there and takes part, in an order that does not change."""
        online = {node.node_id: node.last_activated_at for node in self._grid.get_nodes()}
        for node, joined_at in sorted(online.items()):
            if self._met.get(node) != joined_at:
                self._ask(node)
                self._met[node] = joined_at
        for query in [query for query, node in self._asked.items() if node not in online]:
            del self._asked[query]
        if self._asked:
            for message in self._grid.pull_messages(list(self._asked)):
                node = self._asked.pop(message.metadata.reply_to_message_id)
                self._meet(node, message, online)
        return sorted(
            (each for each in self._known.values() if each.node in online),
            key=lambda each: each.order,
        )

    def _ask(self, node: int) -> None:
        for query in [query for query, asked in self._asked.items() if asked == node]:
            del self._asked[query]  # the one that was asked is gone
        content = RecordDict({HELLO: ConfigRecord({SAID: own_version()})})
        message = Message(content, dst_node_id=node, message_type=MessageType.QUERY)
        (query,) = self._grid.push_messages([message])
        self._asked[query] = node

    def _meet(self, node: int, message: Message, online: Container[int]) -> None:
        """Take a node in, or say why not; what it was before, it is no longer."""
        before = dict(self._known)
        self._known = {client: each for client, each in before.items() if each.node != node}
        try:
            hello = read_hello(message)
            known = before.get(hello.client)
            number = len(before) if known is None else known.order[0]
            number = hello.index if hello.index >= 0 else number
            depth = self._admitted(hello, number)
        except (FederationError, InputError) as error:
            _log.warning("node %d does not take part: %s", node, error)
            return
        if known is not None and known.node != node and known.node in online:
            _log.warning(
                "node %d does not take part: %s is the name of another; give it one of its own",
                node,
                hello.client,
            )
            return
        participant = Participant(
            client=hello.client,
            depth=depth,
            max_examples=min(hello.num_examples, self._settings.max_examples),
        )
        order = (number, hello.client)
        self._known[hello.client] = _Known(node=node, order=order, participant=participant)
        _log.info("%s takes part, to exit %d", hello.client, depth.max_exit)

    def _admitted(self, hello: Hello, number: int) -> Depth:
        """Return how deep a client of a number goes.

        Raises:
            FederationError: It cannot take part.
            InputError: The assignment does not name it.
        """
        if hello.version != own_version():
            raise FederationError(
                f"{hello.client} runs reefl-edge {hello.version}, the server {own_version()}; "
                "install the same on both"
            )
        if hello.problem is not None or hello.submodel is None:
            raise FederationError(f"{hello.client}: {hello.problem or 'it has no model'}")
        theirs, ours = hello.submodel, self._submodel
        if (theirs.architecture, theirs.schedule) != (ours.architecture, ours.schedule):
            raise FederationError(
                f"{hello.client} has a model of another architecture or other exits; give it the "
                "federation's"
            )
        depth = (
            Depth(max_exit=theirs.max_exit if hello.max_exit is None else hello.max_exit)
            if self._depths is None
            else self._depths.of(hello.client, number)
        )
        if depth is None:
            raise FederationError(f"{hello.client} meets the budget at no exit")
        if not 0 <= depth.max_exit <= theirs.max_exit:
            raise FederationError(
                f"{hello.client} is to go to exit {depth.max_exit}, but its model ends at exit "
                f"{theirs.max_exit}"
            )
        return depth


def hello_content(hello: Hello) -> RecordDict:
    """Return what a node says of itself as the content of a message."""
    return RecordDict({HELLO: ConfigRecord({SAID: schema.to_json(hello)})})


def read_hello(message: Message) -> Hello:
    """Return what a node says of itself.

    Raises:
        FederationError: It failed, or said something else.
        InputError: It said something else.
    """
    if message.has_error():
        raise FederationError(f"it failed: {message.error.reason or message.error.code}")
    record = message.content.get(HELLO)
    said = record.get(SAID) if isinstance(record, ConfigRecord) else None
    if not isinstance(said, str):
        raise FederationError("its answer is not one of ours; install the same reefl-edge on both")
    return schema.from_json(Hello, said, source="its answer")

"""What is the ``ClientApp``: what does a node of Flower do with a message?

The same in a simulation, where a node computes for whatever client it is told, and in a deployment,
where it is one. What takes long to build is kept as long as the process lives.
"""

from functools import lru_cache
from typing import Any

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from reefl_edge.errors import ReeflEdgeError
from reefl_edge.federation.assembly import simulated_client
from reefl_edge.federation.client import FederatedClient
from reefl_edge.federation.flower.records import read_task, reply_content
from reefl_edge.federation.flower.roster import hello_content
from reefl_edge.federation.messages import ClientReply
from reefl_edge.federation.node import Node, read_node_settings
from reefl_edge.federation.settings import read_settings

app = ClientApp()

_Values = tuple[tuple[str, Any], ...]


@app.train()
def train(message: Message, context: Context) -> Message:
    """Do a task of the server."""
    task = read_task(message.content)
    try:
        client = _client(context)
    except (ReeflEdgeError, ValueError, OSError) as error:
        reply = ClientReply(client=task.client, update=None, problem=str(error))
    else:
        reply = client.train(task)
    return Message(reply_content(reply), reply_to=message)


@app.query()
def query(message: Message, context: Context) -> Message:
    """Say who this node is."""
    return Message(hello_content(_node(context).hello()), reply_to=message)


def _client(context: Context) -> FederatedClient:
    values = _hashable(context.run_config)
    if read_settings(dict(values)).is_simulation:
        return _simulated(values)
    return _node(context).client()


def _node(context: Context) -> Node:
    values = _hashable(context.node_config)
    return _deployed(values, context.node_id, read_settings(dict(context.run_config)).model)


@lru_cache(maxsize=1)
def _simulated(values: _Values) -> FederatedClient:
    return simulated_client(read_settings(dict(values)))


@lru_cache(maxsize=1)
def _deployed(values: _Values, node_id: int, model: str) -> Node:
    return Node(read_node_settings(dict(values)), name=f"node-{node_id}", model=model)


def _hashable(config: dict[str, Any]) -> _Values:
    return tuple(sorted(config.items()))

"""How many bytes does a client of a federation cost in a round?

DeiT-S with the 100 classes of CIFAR-100, every regime and depth. A task and its reply are made into
Flower's messages, and those into the requests that Flower serialises: one per object of a message,
and the message with the tree of its objects. HTTP's and TLS's own bytes are not counted. They stand
beside four bytes per trained parameter.

And, at the deepest exit and both directions together, beside what it takes to send the program of
the training step as base64 and to get the trained arrays back as lists in JSON, each round, as
NVIDIA FLARE's client for devices does. The program is counted as its weights alone, which it holds
in any format; the lists are as Python's ``json`` writes them.

    python -m benchmarks.federated_wire
"""

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
from flwr.app import Message
from flwr.app.message.message import remove_content_from_message
from flwr.common.serde import message_to_proto
from flwr.proto.fleet_pb2 import PushMessagesRequest
from flwr.proto.message_pb2 import PushObjectRequest
from flwr.proto.node_pb2 import Node
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects, get_object_tree
from flwr.supercore.task_identity import TaskIdentity

from benchmarks.apparatus.documents import Bar, at_most, parser, write
from benchmarks.apparatus.measured import measured_submodel, settings_of
from reefl_edge.architectures import named_submodel
from reefl_edge.array_files.safetensors import Arrays
from reefl_edge.checkpoints.metadata import Provenance
from reefl_edge.checkpoints.update import Update
from reefl_edge.federation.flower.exchange import task_message
from reefl_edge.federation.flower.records import reply_content
from reefl_edge.federation.messages import ClientReply, ClientTask
from reefl_edge.finetune.training import LocalTraining
from reefl_edge.regimes import REGIMES, Regime
from reefl_edge.submodel import Submodel

NUM_CLASSES = 100
NUM_STEPS = 16  # 500 examples in batches of 32
OVERHEAD_LIMIT = 1.02
AS_TEXT_LIMITS: dict[Regime, float] = {"frozen": 0.03, "lora": 0.07}

Row = dict[str, Any]
# Flower's identities: 64 bits, and an id of 32 hexadecimal digits.
_NODE = Node(node_id=2**63)
_RUN = 2**63
_SESSION = "0" * 32
_SHA256 = "0" * 64


def main() -> None:
    """Count and write the results."""
    arguments = parser(__doc__, "federated_wire").parse_args()
    # Messages ask the process that makes them which run it is of.
    TaskIdentity.run_id = TaskIdentity.task_id = TaskIdentity.node_id = _RUN
    whole = (
        measured_submodel(is_quick=True)
        if arguments.quick
        else named_submodel("deit_small", num_classes=NUM_CLASSES)
    )
    submodels = [replace(whole, regime=regime) for regime in REGIMES]
    rows = [
        counted(each.cut(max_exit)) for each in submodels for max_exit in range(whole.num_exits)
    ]
    texts = [beside_text(replace(whole, regime=regime)) for regime in AS_TEXT_LIMITS]
    write(
        arguments.output,
        settings={
            **settings_of(whole),
            "classes": whole.architecture.num_classes,
            "steps": NUM_STEPS,
        },
        bars=bars(rows, texts),
        messages=rows,
        as_text=texts,
    )


def counted(submodel: Submodel) -> Row:
    """Count the bytes of a task and of its reply, and four for each trained parameter."""
    task, reply = messages_of(submodel, drawn(submodel))
    return {
        "regime": submodel.regime,
        "max_exit": submodel.max_exit,
        "parameter_bytes": 4 * sum(spec.num_elements for spec in submodel.trained_arrays()),
        "down_bytes": wire_bytes(task),
        "up_bytes": wire_bytes(reply),
    }


def drawn(submodel: Submodel) -> Arrays:
    """Return trained arrays of no meaning."""
    generator = np.random.default_rng(0)
    return {
        spec.name: generator.standard_normal(spec.shape, np.float32)
        for spec in submodel.trained_arrays()
    }


def messages_of(submodel: Submodel, arrays: Arrays) -> tuple[Message, Message]:
    """Return a task and its reply, as Flower's messages."""
    task = ClientTask(
        client="client-17",
        submodel=submodel,
        arrays=arrays,
        training=LocalTraining(server_round=1000, seed=2**40),
        frozen_sha256=_SHA256,
        base_sha256=_SHA256,
    )
    provenance = Provenance(base_sha256=_SHA256, server_round=1000, num_examples=500)
    reply = ClientReply(
        client=task.client,
        update=Update(submodel=submodel, arrays=arrays, provenance=provenance),
        losses=(1.0,) * NUM_STEPS,
        teacher_counts=(NUM_STEPS // submodel.num_exits,) * submodel.num_exits,
    )
    down = task_message(task, _NODE.node_id, deadline_s=600.0)
    return down, Message(reply_content(reply), reply_to=down)


def wire_bytes(message: Message) -> int:
    """Return how long the requests are that carry a message."""
    head = PushMessagesRequest(
        node=_NODE,
        messages_list=[message_to_proto(remove_content_from_message(message))],
        message_object_trees=[get_object_tree(message)],
    )
    requests = [
        PushObjectRequest(
            node=_NODE,
            run_id=_RUN,
            object_id=object_id,
            object_content=each.deflate(),
            session_id=_SESSION,
        )
        for object_id, each in get_all_nested_objects(message).items()
    ]
    return len(head.SerializeToString()) + sum(len(each.SerializeToString()) for each in requests)


def beside_text(submodel: Submodel) -> Row:
    """Count both directions, and a program in base64 with arrays in JSON."""
    arrays = drawn(submodel)
    row = counted(submodel)
    num_weights = sum(spec.num_elements for spec in submodel.arrays())
    program = 4 * math.ceil(4 * num_weights / 3)  # base64: four characters for three bytes
    lists = len(json.dumps({name: array.tolist() for name, array in arrays.items()}))
    ours = row["down_bytes"] + row["up_bytes"]
    return {
        "regime": submodel.regime,
        "ours_bytes": ours,
        "program_bytes": program,
        "lists_bytes": lists,
        "share": ours / (program + lists),
    }


def bars(rows: list[Row], texts: list[Row]) -> list[Bar]:
    """Hold what crosses the wire to what the issue asks for, at the worst regime and depth."""
    overheads = {
        direction: max(row[f"{direction}_bytes"] / row["parameter_bytes"] for row in rows)
        for direction in ("down", "up")
    }
    return [
        *(
            at_most(f"bytes {direction} to those of the parameters", figure, OVERHEAD_LIMIT)
            for direction, figure in overheads.items()
        ),
        *(
            at_most(
                f"{text['regime']}: both directions to program and lists as text",
                text["share"],
                AS_TEXT_LIMITS[text["regime"]],
            )
            for text in texts
        ),
    ]


if __name__ == "__main__":
    main()

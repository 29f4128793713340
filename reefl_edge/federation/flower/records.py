"""What do tasks and replies look like as Flower's messages?

The trained arrays travel as one flat array of float32, in the order in which the sub-model lists
them: Flower wraps each array of a record in some hundred bytes of its own, more than many of ours
hold. Beside it there is a record of short texts and numbers. Nothing else crosses the wire.
"""

import math
import re
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, RecordDict

from reefl_edge import schema
from reefl_edge.array_files.safetensors import Arrays
from reefl_edge.checkpoints.metadata import Provenance
from reefl_edge.checkpoints.update import Update
from reefl_edge.errors import FederationError, InputError
from reefl_edge.federation.messages import ClientReply, ClientTask
from reefl_edge.finetune.training import LocalTraining
from reefl_edge.submodel import Shape, Submodel

# Keys of the records in a message, and of the one array.
ARRAYS, TASK, REPLY, TRAINED = "arrays", "task", "reply", "trained"


def task_content(task: ClientTask) -> RecordDict:
    """Return a task as the content of a message."""
    said = {
        "client": task.client,
        "submodel": schema.to_json(task.submodel),
        "training": schema.to_json(task.training),
        "frozen-sha256": task.frozen_sha256,
        "base-sha256": task.base_sha256,
    }
    if task.refusal is not None:
        said["refusal"] = task.refusal
    arrays = flat_record(task.arrays, task.submodel)
    return RecordDict({ARRAYS: arrays, TASK: ConfigRecord({**said})})


def read_task(content: RecordDict) -> ClientTask:
    """Return the task in a message.

    Raises:
        FederationError: It is not one of ours.
    """
    try:
        said = _Said(content[TASK])
        submodel = schema.from_json(Submodel, said.text("submodel"), source="the task's sub-model")
        return ClientTask(
            client=said.text("client"),
            submodel=submodel,
            arrays=unflattened(content[ARRAYS], submodel),
            training=schema.from_json(
                LocalTraining, said.text("training"), source="the task's settings"
            ),
            frozen_sha256=said.text("frozen-sha256"),
            base_sha256=said.text("base-sha256"),
            refusal=said.text("refusal") if "refusal" in said.record else None,
        )
    except (KeyError, TypeError, ValueError, InputError) as error:
        raise FederationError(
            f"the server's task cannot be read ({error}); use the same reefl-edge on both sides"
        ) from error


def reply_content(reply: ClientReply) -> RecordDict:
    """Return a reply as the content of a message."""
    if reply.update is None:
        return RecordDict({REPLY: ConfigRecord({"problem": reply.problem or "it failed"})})
    provenance = reply.update.provenance
    said = ConfigRecord(
        {
            "submodel": schema.to_json(reply.update.submodel),
            "base-sha256": provenance.base_sha256,
            "server-round": provenance.server_round,
            "num-examples": provenance.num_examples,
            "losses": list(reply.losses),
            "teacher-counts": list(reply.teacher_counts),
        }
    )
    arrays = flat_record(reply.update.arrays, reply.update.submodel)
    return RecordDict({ARRAYS: arrays, REPLY: said})


def read_reply(message: Message, client: str) -> ClientReply:
    """Return what a client replied, whatever it is.

    Args:
        message: What came.
        client: Who was asked: a reply does not say itself whose it is.
    """
    if message.has_error():
        reason = message.error.reason or f"error {message.error.code}"
        return ClientReply(client=client, update=None, problem=f"it failed: {reason}")
    try:
        said = _Said(message.content[REPLY])
        if "problem" in said.record:
            return ClientReply(client=client, update=None, problem=said.text("problem"))
        submodel = schema.from_json(Submodel, said.text("submodel"), source="its sub-model")
        update = Update(
            submodel=submodel,
            arrays=unflattened(message.content[ARRAYS], submodel),
            provenance=Provenance(
                base_sha256=said.text("base-sha256"),
                server_round=said.number("server-round"),
                num_examples=said.number("num-examples"),
            ),
        )
        return ClientReply(
            client=client,
            update=update,
            losses=tuple(map(float, said.numbers("losses"))),
            teacher_counts=tuple(map(int, said.numbers("teacher-counts"))),
        )
    except (KeyError, TypeError, ValueError, OverflowError, InputError) as error:
        problem = f"refused: its reply is no update of ours ({error})"
        return ClientReply(client=client, update=None, problem=problem)


def flat_record(arrays: Arrays, submodel: Submodel) -> ArrayRecord:
    """Return the trained arrays of a sub-model as a record with one flat array."""
    flat = np.concatenate([arrays[part.name].reshape(-1) for part in _layout(submodel)])
    return ArrayRecord({TRAINED: Array(flat.astype(np.float32, copy=False))})


def unflattened(record: object, submodel: Submodel) -> Arrays:
    """Return the trained arrays in a record with one flat array, as views of it.

    Raises:
        ValueError: It holds another number of values, or values that are no float32.
        KeyError: It holds no such array.
        TypeError: It is no such record.
    """
    if not isinstance(record, ArrayRecord):
        raise TypeError(f"need a record of arrays, got {type(record).__name__}")
    array, layout = record[TRAINED], _layout(submodel)
    if not _is_flat(array.data, layout[-1].end):
        raise ValueError(
            f"need float32 ({layout[-1].end},) for the arrays that {submodel.regime!r} trains, got "
            f"{len(array.data)} bytes called {array.dtype} {array.shape}"
        )
    flat = array.numpy()
    return {part.name: flat[part.begin : part.end].reshape(part.shape) for part in layout}


def named_record(arrays: Arrays) -> ArrayRecord:
    """Return arrays by name, as Flower's own strategies hold a model."""
    return ArrayRecord({name: Array(array) for name, array in arrays.items()})


def named_arrays(record: ArrayRecord) -> Arrays:
    """Return the arrays of such a record."""
    return {name: array.numpy() for name, array in record.items()}


def _is_flat(data: bytes, size: int) -> bool:
    """Tell whether bytes are what numpy saves of so many float32.

    They are somebody else's: what numpy makes of other bytes has errors of many kinds, and takes as
    much memory as they say.
    """
    head = re.match(
        rb"\x93NUMPY\x01\x00(..)\{'descr': '<f4', 'fortran_order': False, 'shape': \(%d,\), \} *\n"
        % size,
        data,
        re.DOTALL,
    )
    if head is None:
        return False
    says_end = head.end(1) + int.from_bytes(head[1], "little")
    return says_end == head.end() and len(data) == head.end() + 4 * size


@dataclass(frozen=True, slots=True)
class _Part:
    """Where an array lies in the flat one."""

    name: str
    shape: Shape
    begin: int
    end: int


@lru_cache(maxsize=64)
def _layout(submodel: Submodel) -> tuple[_Part, ...]:
    """Return where each trained array lies; kept, because a sub-model takes long to enumerate."""
    parts, begin = [], 0
    for spec in submodel.trained_arrays():
        end = begin + math.prod(spec.shape)
        parts.append(_Part(spec.name, spec.shape, begin, end))
        begin = end
    return tuple(parts)


class _Said:
    """Short texts and numbers of a message, each held to its type."""

    def __init__(self, record: object) -> None:
        if not isinstance(record, ConfigRecord):
            raise TypeError(f"need a record of settings, got {type(record).__name__}")
        self.record = record

    def text(self, key: str) -> str:
        value = self.record[key]
        if not isinstance(value, str):
            raise TypeError(f"{key} is no text")
        return value

    def number(self, key: str) -> int:
        value = self.record[key]
        if not isinstance(value, int) or isinstance(value, bool):
            raise TypeError(f"{key} is no whole number")
        return value

    def numbers(self, key: str) -> list[float]:
        value = self.record[key]
        if not isinstance(value, list) or not all(isinstance(each, int | float) for each in value):
            raise TypeError(f"{key} is no list of numbers")
        return [float(each) for each in value]

"""What crosses the wire, in how many bytes, and what becomes of a message that is none of ours?"""

import io
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Error, Message, MessageType, RecordDict

from reefl_edge.architectures import named_submodel
from reefl_edge.array_files.safetensors import Arrays
from reefl_edge.errors import FederationError
from reefl_edge.federation.flower.records import (
    read_reply,
    read_task,
    reply_content,
    task_content,
)
from reefl_edge.federation.messages import ClientReply, ClientTask
from reefl_edge.finetune.training import LocalTraining
from reefl_edge.submodel import Regime, Submodel
from tests.fakes.federations import WHOLE, failed, moved
from tests.fakes.updates import drawn_arrays, filled_arrays


def task_of(submodel: Submodel, arrays: Arrays) -> ClientTask:
    return ClientTask(
        client="client-7",
        submodel=submodel,
        arrays=arrays,
        training=LocalTraining(server_round=12, seed=99, epochs=2),
        frozen_sha256="a" * 64,
        base_sha256="b" * 64,
        refusal="it held NaN",
    )


TASK = task_of(WHOLE.cut(2), drawn_arrays(WHOLE.cut(2), np.random.default_rng(0)))
REPLY = moved(TASK, 0.1)


def came(content: RecordDict | Error) -> Message:
    """Return a message with such content, as a server gets it from a node."""
    asked = Message(RecordDict(), dst_node_id=1, message_type=MessageType.TRAIN)
    return Message(content, reply_to=asked)


def assert_same_arrays(actual: Arrays, expected: Arrays) -> None:
    assert [*actual] == [*expected]
    assert all(np.array_equal(actual[name], expected[name]) for name in expected)


def test_a_task_arrives_as_it_was_sent() -> None:
    there = read_task(task_content(TASK))

    assert_same_arrays(there.arrays, TASK.arrays)
    assert replace(there, arrays={}) == replace(TASK, arrays={})


def test_a_reply_arrives_as_it_was_sent() -> None:
    assert REPLY.update is not None

    here = read_reply(came(reply_content(REPLY)), "client-7")

    assert here.update is not None
    assert_same_arrays(here.update.arrays, REPLY.update.arrays)
    assert here.update.provenance == REPLY.update.provenance
    assert here.update.submodel == REPLY.update.submodel
    assert (here.losses, here.teacher_counts) == (REPLY.losses, REPLY.teacher_counts)


def test_a_problem_arrives_as_it_was_sent() -> None:
    reply = failed(TASK, "the disk is full")

    assert read_reply(came(reply_content(reply)), "client-7") == reply


def test_what_crosses_the_wire_is_the_trained_arrays_and_a_few_texts_and_numbers() -> None:
    """Neither examples, nor labels, nor how many there are of each class, nor frozen arrays."""
    there, back = task_content(TASK), reply_content(REPLY)

    assert {name: {*record} for name, record in there.items()} == {
        "arrays": {"trained"},
        "task": {
            *("client", "submodel", "training", "frozen-sha256", "base-sha256", "refusal"),
        },
    }
    assert {name: {*record} for name, record in back.items()} == {
        "arrays": {"trained"},
        "reply": {
            *("submodel", "base-sha256", "server-round", "num-examples", "losses"),
            "teacher-counts",
        },
    }
    num_trained = sum(spec.num_elements for spec in TASK.submodel.trained_arrays())
    for content in (there, back):
        assert content.array_records["arrays"]["trained"].shape == (num_trained,)


def test_a_failed_client_sends_no_arrays() -> None:
    assert {*reply_content(failed(TASK, "no"))} == {"reply"}


def wire_bytes(content: RecordDict) -> int:
    """Count all that Flower sends of a message: it, its records, its arrays, their chunks."""

    def deflated(value: object) -> int:
        children = getattr(value, "children", None) or {}
        return len(value.deflate()) + sum(map(deflated, children.values()))  # type: ignore[attr-defined]

    return deflated(content)


@pytest.mark.parametrize("regime", ["frozen", "lora"])
@pytest.mark.parametrize("max_exit", [0, 3])
def test_a_message_takes_little_more_than_its_arrays(regime: Regime, max_exit: int) -> None:
    submodel = named_submodel("deit_tiny", num_classes=100, max_exit=max_exit, regime=regime)
    task = task_of(submodel, filled_arrays(submodel, 0.5))
    trained = 4 * sum(spec.num_elements for spec in submodel.trained_arrays())

    assert trained < wire_bytes(task_content(task)) < 1.02 * trained
    assert trained < wire_bytes(reply_content(moved(task, 0.1))) < 1.02 * trained


def with_config(**said: Any) -> Callable[[RecordDict], None]:
    def change(content: RecordDict) -> None:
        for key, value in said.items():
            content.config_records["reply"][key.replace("_", "-")] = value

    return change


def with_array(array: np.ndarray) -> Callable[[RecordDict], None]:
    def change(content: RecordDict) -> None:
        content["arrays"] = ArrayRecord({"trained": Array(array)})

    return change


def without(*path: str) -> Callable[[RecordDict], None]:
    def change(content: RecordDict) -> None:
        record, *keys = path
        if keys:
            del content[record][keys[0]]
        else:
            del content[record]

    return change


NUM_TRAINED = sum(spec.num_elements for spec in TASK.submodel.trained_arrays())


def with_bytes(data: bytes) -> Callable[[RecordDict], None]:
    """Send other bytes, and say that they are the array that was asked for."""

    def change(content: RecordDict) -> None:
        content["arrays"] = ArrayRecord(
            {"trained": Array("float32", (NUM_TRAINED,), "numpy.ndarray", data)}
        )

    return change


def saved(array: np.ndarray, *, says: tuple[bytes, bytes] = (b"", b"")) -> bytes:
    """Return what numpy saves of an array, with something in its head that is otherwise."""
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue().replace(*says, 1) if says[0] else file.getvalue()


def zipped() -> bytes:
    file = io.BytesIO()
    np.savez(file, np.zeros(NUM_TRAINED, np.float32))
    return file.getvalue()


ASKED_FOR = np.zeros(NUM_TRAINED, np.float32)


@pytest.mark.parametrize(
    "change",
    [
        without("arrays"),
        without("reply"),
        without("arrays", "trained"),
        without("reply", "num-examples"),
        with_config(submodel="{}"),
        with_config(submodel=7),
        with_config(num_examples="many"),
        with_config(num_examples=2.5),
        with_config(losses="low"),
        with_config(server_round=True),
        with_array(np.zeros(NUM_TRAINED - 1, np.float32)),
        with_array(np.zeros(NUM_TRAINED, np.float64)),
        with_array(np.zeros((1, NUM_TRAINED), np.float32)),
        with_config(teacher_counts=[float("inf")]),
        with_bytes(b"no numpy file"),
        with_bytes(b""),
        with_bytes(zipped()),
        with_bytes(b"PK\x03\x04 and no zip"),
        with_bytes(saved(ASKED_FOR)[:-4]),
        with_bytes(saved(ASKED_FOR) + b"more"),
        with_bytes(saved(ASKED_FOR, says=(b"(%d,)" % NUM_TRAINED, b"(9%d,)" % 10**17))),
        with_bytes(saved(ASKED_FOR, says=(b"{", b"("))),
        with_bytes(saved(ASKED_FOR, says=(b"\x00{", b"\x01{"))),
    ],
)
def test_a_reply_that_is_none_of_ours_is_refused_and_named(
    change: Callable[[RecordDict], None],
) -> None:
    content = reply_content(REPLY)
    change(content)

    reply = read_reply(came(content), "client-7")

    assert reply.client == "client-7"
    assert reply.update is None
    assert reply.problem is not None
    assert reply.problem.startswith("refused: its reply is no update of ours (")


def test_a_crash_of_the_client_is_its_problem() -> None:
    reply = read_reply(came(Error(code=2, reason="MemoryError")), "client-7")

    assert reply == ClientReply(client="client-7", update=None, problem="it failed: MemoryError")


def test_a_task_of_another_version_is_refused() -> None:
    content = task_content(TASK)
    content["task"] = ConfigRecord({"client": "client-7"})

    with pytest.raises(FederationError, match="use the same reefl-edge on both sides"):
        read_task(content)

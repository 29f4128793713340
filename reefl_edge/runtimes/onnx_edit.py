"""How is an ONNX graph changed, in the few ways that take no toolchain?

Constants are written over where they stand, outputs are added behind the end, where protobuf merges
them with the graph, and what is said of where arrays lie is exchanged; all else stays as it is.

Source: onnx.proto of ONNX 1.23.
"""

from collections.abc import Iterable, Mapping

from reefl_edge.runtimes.onnx_graph import StoredTensor, constants
from reefl_edge.runtimes.protobuf import field, fields, replaced, text

_GRAPH = 7  # of a ModelProto
_NODE, _INITIALIZER, _OUTPUT = 1, 5, 12  # of a GraphProto
_TENSOR_NAME, _EXTERNAL_DATA = 8, 13  # of a TensorProto
_KEY, _VALUE = 1, 2  # of a StringStringEntryProto
_INPUT, _OP_TYPE = 1, 4  # of a NodeProto
_NAME = 1  # of a ValueInfoProto


def with_constants(content: bytes, values: Mapping[str, bytes]) -> bytes:
    """Return a graph with other constants in the place of its own.

    Args:
        content: The graph.
        values: Their bytes by name, without what an adaptive graph puts before it.

    Raises:
        ValueError: One has another length than what stands there.
    """
    changed = bytearray(content)
    for name, place in constants(memoryview(changed)):
        value = values.get(name.rpartition("/")[2])
        if value is not None:
            place[:] = value
    return bytes(changed)


def with_places(content: bytes, tensors: Iterable[StoredTensor]) -> bytes:
    """Return a graph that reads its own initialisers from elsewhere in other files.

    Args:
        content: The graph.
        tensors: Where to read from; an initialiser that says nothing of a file stays as it is.

    Raises:
        IndexError, ValueError: It is no graph, or a damaged one.
    """
    said = {tensor.name: _said_of(tensor) for tensor in tensors}

    def moved(initializer: memoryview) -> bytes | memoryview:
        facts = said.get(text(initializer, _TENSOR_NAME))
        if facts is None:
            return initializer
        return replaced(initializer, _EXTERNAL_DATA, lambda entry: _said_anew(entry, facts))

    return replaced(memoryview(content), _GRAPH, lambda graph: replaced(graph, _INITIALIZER, moved))


def _said_of(tensor: StoredTensor) -> dict[str, str]:
    """Return what a graph says of where a tensor lies."""
    return {
        "location": tensor.location,
        "offset": str(tensor.offset),
        "length": str(tensor.length),
    }


def _said_anew(entry: memoryview, facts: Mapping[str, str]) -> bytes | memoryview:
    key = text(entry, _KEY)
    if key not in facts:
        return entry
    return field(_KEY, key.encode()) + field(_VALUE, facts[key].encode())


def with_outputs(content: bytes, names: Iterable[str]) -> bytes:
    """Return a graph that gives more of its values, behind its own outputs."""
    added = b"".join(field(_OUTPUT, field(_NAME, name.encode())) for name in names)
    return content + field(_GRAPH, added)


def linear_inputs(content: bytes) -> dict[str, list[str]]:
    """Return which linear layers of a float32 graph read a value, by the value's name.

    A layer is named after its weight, without ``.weight``.
    """
    found: dict[str, list[str]] = {}
    graphs = [value for number, value in fields(memoryview(content)) if number == _GRAPH]
    nodes = [value for graph in graphs for number, value in fields(graph) if number == _NODE]
    for node in nodes:
        if text(node, _OP_TYPE) == "Gemm":
            rows, weight, *_ = (
                bytes(value).decode() for number, value in fields(node) if number == _INPUT
            )
            found.setdefault(rows, []).append(weight.removesuffix(".weight"))
    return found

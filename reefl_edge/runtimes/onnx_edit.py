"""How is an ONNX graph changed, in the few ways that take no toolchain?

Nothing moves: constants are written over where they stand, and outputs are added behind the end,
where protobuf merges them with the graph.

Source: onnx.proto of ONNX 1.23.
"""

from collections.abc import Iterable, Mapping

from reefl_edge.runtimes.onnx_graph import constants
from reefl_edge.runtimes.protobuf import field, fields, text

_GRAPH = 7  # of a ModelProto
_NODE, _OUTPUT = 1, 12  # of a GraphProto
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


def with_outputs(content: bytes, names: Iterable[str]) -> bytes:
    """Return a graph that gives more of its values, behind its own outputs."""
    added = b"".join(field(_OUTPUT, field(_NAME, name.encode())) for name in names)
    return content + field(_GRAPH, added)


def linear_inputs(content: bytes) -> dict[str, str]:
    """Return what each linear layer of a float32 graph reads: the layer by the value's name.

    A layer is named after its weight, without ``.weight``.
    """
    found = {}
    graphs = [value for number, value in fields(memoryview(content)) if number == _GRAPH]
    nodes = [value for graph in graphs for number, value in fields(graph) if number == _NODE]
    for node in nodes:
        if text(node, _OP_TYPE) == "Gemm":
            rows, weight, *_ = (
                bytes(value).decode() for number, value in fields(node) if number == _INPUT
            )
            found[rows] = weight.removesuffix(".weight")
    return found

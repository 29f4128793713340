"""How does a float32 graph store and compute in half precision?

Everything between a segment's inputs and outputs becomes float16, what the graph takes and gives
stays float32. Layer norms compute in float32 inside, as ONNX has it (``stash_type``). Where a
provider has no float16 kernel for an operation, onnxruntime casts around it: on a CPU the graph is
slow, it is meant for others.
"""

import onnx_ir
from onnx_ir import DataType

from reefl_edge.narrowing import halved
from reefl_export.onnx.int8 import array_of


def halve(model: onnx_ir.Model) -> None:
    """Let a graph compute in float16, and hold its constants so."""
    graph = model.graph
    inputs, outputs = list(graph.inputs), list(graph.outputs)
    for value in graph.initializers.values():
        if value.dtype == DataType.FLOAT:
            value.const_value = onnx_ir.tensor(halved(array_of(value)), name=value.name)
            _as_half(value)
    for node in graph:
        if node.op_type == "Cast" and node.attributes["to"].as_int() == DataType.FLOAT:
            node.attributes["to"] = onnx_ir.AttrInt64("to", DataType.FLOAT16)
        for value in node.outputs:
            if value.dtype == DataType.FLOAT:
                _as_half(value)
    for value in inputs:
        if value.dtype == DataType.FLOAT:
            _narrow_input(graph, value)
    for index, value in enumerate(outputs):
        graph.outputs[index] = _widened_output(graph, value)


def _as_half(value: onnx_ir.Value) -> None:
    # Not ``value.dtype``: that changes the type of every value, of every graph, that shares it.
    value.type = onnx_ir.TensorType(DataType.FLOAT16)


def _narrow_input(graph: onnx_ir.Graph, value: onnx_ir.Value) -> None:
    cast = onnx_ir.node("Cast", [value], {"to": DataType.FLOAT16})
    value.replace_all_uses_with(cast.outputs[0])
    cast.replace_input_with(0, value)
    cast.outputs[0].dtype, cast.outputs[0].shape = DataType.FLOAT16, value.shape
    graph.insert_before(graph[0], cast)


def _widened_output(graph: onnx_ir.Graph, value: onnx_ir.Value) -> onnx_ir.Value:
    cast = onnx_ir.node("Cast", [value], {"to": DataType.FLOAT})
    output = cast.outputs[0]
    output.dtype, output.shape, output.name = DataType.FLOAT, value.shape, value.name
    value.name = f"{value.name}_half"
    graph.append(cast)
    return output

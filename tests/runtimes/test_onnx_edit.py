"""Graphs changed without the onnx package, and read with it."""

import numpy as np
import onnx
import pytest
from onnx import ModelProto, helper, numpy_helper

from reefl_edge.runtimes.onnx_edit import linear_inputs, with_constants, with_outputs


def scaled(prefix: str = "") -> onnx.GraphProto:
    """Return a graph with a constant that a prefix may stand before."""
    scale = numpy_helper.from_array(np.array(0.5, np.float32), f"{prefix}layer.input_scale")
    other = numpy_helper.from_array(np.array(7, np.float32), f"{prefix}other")
    node = helper.make_node("Mul", ["rows", scale.name], [f"{prefix}product"])
    return helper.make_graph([node], "graph", [], [], [scale, other])


def nested() -> bytes:
    """Return a model with such a graph in a branch of an If, as an adaptive graph has it."""
    node = helper.make_node("If", ["stops"], ["y"], else_branch=scaled("segment_1/"))
    graph = scaled()
    graph.node.append(node)
    return bytes(helper.make_model(graph, ir_version=10).SerializeToString())


def test_a_constant_is_written_over_wherever_it_stands_and_nothing_else_changes() -> None:
    content = nested()

    changed = with_constants(content, {"layer.input_scale": np.float32(0.25).tobytes()})

    model = ModelProto.FromString(changed)
    branch = model.graph.node[-1].attribute[0].g
    for graph in (model.graph, branch):
        assert [float(numpy_helper.to_array(each)) for each in graph.initializer] == [0.25, 7]
    assert with_constants(changed, {"layer.input_scale": np.float32(0.5).tobytes()}) == content


def test_a_constant_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="memoryview assignment"):
        with_constants(nested(), {"layer.input_scale": b"12345678"})


def test_outputs_are_added_behind_a_graphs_own() -> None:
    model = ModelProto.FromString(with_outputs(nested(), ["product", "b" * 200]))

    assert [output.name for output in model.graph.output] == ["product", "b" * 200]
    del model.graph.output[:]
    assert model == ModelProto.FromString(nested())


def test_a_layer_is_found_by_what_it_reads() -> None:
    nodes = [
        helper.make_node("Gemm", ["rows", "fc1.weight", "fc1.bias"], ["wide"]),
        helper.make_node("Gelu", ["wide"], ["active"]),
        helper.make_node("Gemm", ["active", "fc2.weight"], ["out"]),
    ]
    content = helper.make_model(helper.make_graph(nodes, "graph", [], [])).SerializeToString()

    assert linear_inputs(content) == {"rows": "fc1", "active": "fc2"}

"""Graphs changed without the onnx package, and read with it."""

import numpy as np
import onnx
import pytest
from onnx import ModelProto, helper, numpy_helper

from reefl_edge.runtimes.onnx_edit import (
    linear_inputs,
    with_constants,
    with_outputs,
    with_places,
)
from reefl_edge.runtimes.onnx_graph import StoredTensor


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


def stored(name: str, **facts: object) -> onnx.TensorProto:
    """Return a tensor that lies in another file."""
    tensor = onnx.TensorProto(name=name, data_type=onnx.TensorProto.FLOAT, dims=[2, 3])
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in facts.items():
        tensor.external_data.add(key=key, value=str(value))
    return tensor


def reading(*tensors: onnx.TensorProto) -> bytes:
    """Return a model that reads tensors of other files, and holds one itself."""
    graph = scaled()
    graph.initializer.extend(tensors)
    model = helper.make_model(graph, ir_version=10)
    model.metadata_props.add(key="facts", value="x" * 300)
    return bytes(model.SerializeToString())


def test_a_tensor_is_read_from_elsewhere_and_all_else_stays() -> None:
    kept = stored("norm", location="weights", offset=64, length=24)
    content = reading(stored("qkv", location="weights", offset=128, length=24), kept)
    place = StoredTensor("qkv", f"training/{'deep/' * 40}start", 4096, 24)

    changed = with_places(content, [place, StoredTensor("other", "weights", 0, 4)])

    there = stored("qkv", location=place.location, offset=4096, length=24)
    assert changed == reading(there, kept)
    assert with_places(changed, [StoredTensor("qkv", "weights", 128, 24)]) == content


def test_what_else_is_said_of_a_tensors_file_stays() -> None:
    content = reading(stored("qkv", checksum="ab", location="a", offset=0, length=24))

    changed = with_places(content, [StoredTensor("qkv", "b", 8, 24)])

    assert changed == reading(stored("qkv", checksum="ab", location="b", offset=8, length=24))


@pytest.mark.parametrize("length", [10, 60])
def test_a_graph_that_ends_early_is_no_graph(length: int) -> None:
    content = reading(stored("qkv", location="a", offset=0, length=24))

    with pytest.raises(IndexError):
        with_places(content[:length], [StoredTensor("qkv", "b", 8, 24)])


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

    assert linear_inputs(content) == {"rows": ["fc1"], "active": ["fc2"]}

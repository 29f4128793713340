"""How does a float32 graph compute its linear layers in 8-bit integers?

Weights and activations are rounded as in ``narrowing.py``. The scale of activations is found while
running (*dynamic*) or from calibration images (*static*).
"""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import onnx_ir
from numpy.typing import NDArray
from onnx_ir.convenience import replace_nodes_and_values
from onnx_ir.tape import Tape

from reefl_edge.narrowing import (
    INT8_SUFFIX,
    SCALE_SUFFIX,
    input_point,
    input_point_names,
    quantised,
)


def quantise_dynamic(model: onnx_ir.Model, keep_float: Sequence[str]) -> None:
    """Let the linear layers of a graph find the range of their input while running.

    onnxruntime runs the nodes of a layer as one, ``DynamicQuantizeMatMul``.

    Args:
        model: The graph, whose weights bear the names of arrays.
        keep_float: Layers to leave; see ``ExportRecipe.keep_float``.
    """
    for node in linear_nodes(model, keep_float):
        weight, scale = quantised_weight(model.graph, node)
        tape = Tape()
        rows, rows_scale, zero_point = tape.op_multi_out(
            "DynamicQuantizeLinear", [node.inputs[0]], num_outputs=3
        )
        sums = tape.op("MatMulInteger", [rows, weight, zero_point])
        sums = tape.op("Cast", [sums], {"to": onnx_ir.DataType.FLOAT})
        product = tape.op("Mul", [sums, tape.op("Mul", [rows_scale, scale])])
        if len(node.inputs) > 2:
            product = tape.op("Add", [product, node.inputs[2]])
        replace_layer(model.graph, node, tape, product)


def quantise_static(
    model: onnx_ir.Model, keep_float: Sequence[str], ranges: Mapping[str, tuple[float, float]]
) -> None:
    """Give the linear layers of a graph the ranges of their inputs.

    The nodes say where values are rounded (``QuantizeLinear``, then ``DequantizeLinear``), which
    every provider of onnxruntime reads; its CPU provider runs a layer as one ``QGemm``.

    Args:
        model: The graph, whose weights bear the names of arrays.
        keep_float: Layers to leave; see ``ExportRecipe.keep_float``.
        ranges: Smallest and largest input of each layer, by its name.
    """
    for node in linear_nodes(model, keep_float):
        graph, layer = model.graph, layer_of(node)
        weight, scale = quantised_weight(graph, node)
        point = _input_point(graph, layer, ranges[layer])
        tape = Tape()
        rows = tape.op("QuantizeLinear", [node.inputs[0], *point])
        rows = tape.op("DequantizeLinear", [rows, *point])
        # onnxruntime makes no QGemm of a weight whose zero points are left out.
        zeros = _zero_points(graph, array_of(scale).size)
        columns = tape.op("DequantizeLinear", [weight, scale, zeros], {"axis": 1})
        product = tape.op("Gemm", [rows, columns])
        if len(node.inputs) > 2:
            product = tape.op("Add", [product, node.inputs[2]])
        replace_layer(graph, node, tape, product)


def _input_point(
    graph: onnx_ir.Graph, layer: str, extremes: tuple[float, float]
) -> tuple[onnx_ir.Value, onnx_ir.Value]:
    """Return the scale and the zero point of a layer's input, as uint8."""
    scale_name, zero_point_name = input_point_names(layer)
    if scale_name not in graph.initializers:
        scale, zero_point = input_point(*extremes)
        add_initializer(graph, scale_name, scale)
        add_initializer(graph, zero_point_name, zero_point)
    return graph.initializers[scale_name], graph.initializers[zero_point_name]


def _zero_points(graph: onnx_ir.Graph, count: int) -> onnx_ir.Value:
    name = f"zero_points_{count}"
    if name not in graph.initializers:
        add_initializer(graph, name, np.zeros(count, np.int8))
    return graph.initializers[name]


def linear_nodes(model: onnx_ir.Model, keep_float: Sequence[str]) -> list[onnx_ir.Node]:
    """Return the linear layers to quantise: ``Gemm(rows, weight (out, in), bias)``."""
    return [
        node
        for node in model.graph
        if node.op_type == "Gemm"
        and not any(fnmatchcase(layer_of(node), pattern) for pattern in keep_float)
    ]


def layer_of(node: onnx_ir.Node) -> str:
    """Return the name of a linear layer: of its weight, without ``.weight``."""
    return name_of(node.inputs[1]).removesuffix(".weight")


def quantised_weight(
    graph: onnx_ir.Graph, node: onnx_ir.Node
) -> tuple[onnx_ir.Value, onnx_ir.Value]:
    """Return the quantised weight of a layer (in, out) and its scale; nodes may share them."""
    name = name_of(node.inputs[1])
    weight_name, scale_name = f"{name}{INT8_SUFFIX}", f"{name}{SCALE_SUFFIX}"
    if weight_name not in graph.initializers:
        weight, scale = quantised(array_of(node.inputs[1]))
        add_initializer(graph, weight_name, weight)
        add_initializer(graph, scale_name, scale)
    return graph.initializers[weight_name], graph.initializers[scale_name]


def add_initializer(graph: onnx_ir.Graph, name: str, array: NDArray[Any]) -> onnx_ir.Value:
    """Give a graph a constant."""
    value = onnx_ir.val(name, const_value=onnx_ir.tensor(array, name=name))
    graph.register_initializer(value)
    return value


def name_of(value: onnx_ir.Value | None) -> str:
    """Return the name of a value that has one."""
    assert value is not None
    assert value.name is not None
    return value.name


def array_of(value: onnx_ir.Value | None) -> NDArray[Any]:
    """Return the content of an initialiser."""
    assert value is not None
    assert value.const_value is not None
    return value.const_value.numpy()


def replace_layer(
    graph: onnx_ir.Graph, node: onnx_ir.Node, tape: Tape, output: onnx_ir.Value
) -> None:
    """Put new nodes in the place of a layer, and drop the initialisers that only it used."""
    inputs = [value for value in node.inputs if value is not None]
    replace_nodes_and_values(graph, node, [node], tape.nodes, node.outputs, [output])
    for value in inputs:
        if value.is_initializer() and not value.uses():
            del graph.initializers[name_of(value)]

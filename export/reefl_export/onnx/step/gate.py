"""How is something computed a second time, although it was computed before?

A runtime that finds the same computation twice does it once and keeps what it gave, which is what
computing again is to save; and it may do it early. So the second time the input passes a *gate*: it
is given its own shape, in words that a runtime can read only once it knows something else. No
number is touched, nothing is copied.

A trace has one node for a gate; what a runtime gets is written in its place.
"""

from collections.abc import Sequence

import numpy as np
import onnx_ir
import torch
from torch import Tensor

_DOMAIN = "reefl_edge"
_GATE = "Gate"


def gated(array: Tensor, *, after: Tensor) -> Tensor:
    """Write into a trace: an array as it is, but not before another is known."""
    shape = list(array.shape)
    result: Tensor = torch.onnx.ops.symbolic(
        f"{_DOMAIN}::{_GATE}",
        (array, after),
        {"shape": shape},
        dtype=array.dtype,
        shape=shape,
        version=1,
    )
    return result


def gate_in_trace(
    array: onnx_ir.Value, *, after: onnx_ir.Value, shape: Sequence[int]
) -> onnx_ir.Node:
    """Return the node that stands for a gate in a trace that was converted."""
    return onnx_ir.Node(
        _DOMAIN,
        _GATE,
        [array, after],
        [onnx_ir.AttrInt64s("shape", list(shape))],
        outputs=[onnx_ir.Value(name=f"{array.name}_gated", type=array.type)],
    )


def is_gate(node: onnx_ir.Node) -> bool:
    """Tell whether a node of a trace is a gate."""
    return (node.domain, node.op_type) == (_DOMAIN, _GATE)


def gate_shape(node: onnx_ir.Node) -> Sequence[int]:
    """Return the shape of what passes a gate of a trace."""
    return node.attributes["shape"].as_ints()


def gate(
    array: onnx_ir.Value, *, after: Sequence[onnx_ir.Value], shape: Sequence[int]
) -> tuple[list[onnx_ir.Node], onnx_ir.Value]:
    """Return the nodes of a gate, and what leaves it.

    One gate waits for several arrays, rather than one gate behind the other: onnxruntime makes one
    reshape of two in a row.

    Args:
        array: What passes.
        after: What must be known first, floats; what is in it does not matter.
        shape: The array's shape.
    """
    # Both shapes say the same: a zero copies the size of its axis.
    constants = [
        onnx_ir.node("Constant", [], {"value": onnx_ir.tensor(np.array(each, np.int64))})
        for each in ([-1], [0], [1], [0] * len(shape), list(shape))
    ]
    flat, first, second, copied, said = (node.outputs[0] for node in constants)
    nodes, elements = constants, []
    for each in after:
        row = onnx_ir.node("Reshape", [each, flat])
        element = onnx_ir.node("Slice", [row.outputs[0], first, second])
        nodes += [row, element]
        elements.append(element.outputs[0])
    while len(elements) > 1:
        nodes.append(onnx_ir.node("Add", [elements.pop(), elements.pop()]))
        elements.append(nodes[-1].outputs[0])
    unknown = onnx_ir.node("IsNaN", elements)
    either = onnx_ir.node("Where", [unknown.outputs[0], copied, said])
    passed = onnx_ir.node("Reshape", [array, either.outputs[0]])
    leaving = passed.outputs[0]
    assert array.dtype is not None  # values of a step have one
    leaving.dtype, leaving.shape = array.dtype, onnx_ir.Shape(list(shape))
    return [*nodes, unknown, either, passed], leaving

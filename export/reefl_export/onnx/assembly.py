"""How do the traced parts become the graphs of segments, for any batch and any length of cache?

Parts are traced with one batch and one cache; a reshape says the sizes of its result. Where a size
is that of the same axis before, ONNX lets it be copied (0), and what is left of the first axis be
counted (-1): so said, a reshape holds for any batch and cache, and a part can stand anywhere.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir
import torch
from numpy.typing import NDArray
from onnx_ir.passes.common import RemoveUnusedNodesPass
from torch.export import ExportedProgram

from reefl_edge.array_files.safetensors import Arrays
from reefl_edge.models.reefl import ReeFL
from reefl_edge.submodel import Segment
from reefl_export.onnx.parts import Kind, Part, parts_of
from reefl_export.onnx.simplify import simplify
from reefl_export.quiet import quiet

# Opset 20 has Gelu; onnxruntime 1.20 reads IR versions up to 10.
OPSET_VERSION = 20
IR_VERSION = 10

# What a view puts before the name of every array.
_VIEW_PREFIX = "network."
_DEPTH_EMBEDDING = "accumulator.depth_embedding"
_DTYPES = {"uint8": onnx_ir.DataType.UINT8, "float32": onnx_ir.DataType.FLOAT}


@dataclass(frozen=True, slots=True)
class Template:
    """The nodes of one kind of part, in order, and where values enter and leave."""

    inputs: Sequence[onnx_ir.Value]
    nodes: Sequence[onnx_ir.Node]
    outputs: Sequence[onnx_ir.Value]


@quiet("torch.onnx")
def templates_of(kinds: Sequence[Kind], program: ExportedProgram) -> dict[Kind, Template]:
    """Convert traced kinds to ONNX, each for any batch and any length of cache."""
    model = converted(program)
    for kind, template in _split(kinds, model.graph):
        _free_axes(model.graph, template, kind)
    _optimise(model, program.state_dict.keys())
    return dict(_split(kinds, model.graph))


def _optimise(model: onnx_ir.Model, weights: Collection[str]) -> None:
    """Simplify a graph without a look at its weights, in whose places others may come.

    The optimiser would make one of two that are equal today, and leave out a bias of zeros. Inputs
    have no values to look at.
    """
    graph = model.graph
    num_inputs = len(graph.inputs)
    hidden = {
        value: value.const_value for name, value in graph.initializers.items() if name in weights
    }
    for value in hidden:
        graph.initializers.pop(str(value.name))
        value.const_value = None
    graph.inputs.extend(hidden)
    simplify(model)
    del graph.inputs[num_inputs:]
    for value, content in hidden.items():
        value.const_value = content
        graph.register_initializer(value)


def converted(program: ExportedProgram) -> onnx_ir.Model:
    """Convert a program to ONNX, as it is."""
    result = torch.onnx.export(
        program, dynamo=True, opset_version=OPSET_VERSION, optimize=False, verbose=False
    )
    assert result is not None  # it is, with dynamo
    for node in result.model.graph.all_nodes():
        # Stack traces, which outweigh the graph.
        node.metadata_props.clear()
        node.doc_string = None
    return result.model


def _split(kinds: Sequence[Kind], graph: onnx_ir.Graph) -> Iterator[tuple[Kind, Template]]:
    """Give the nodes on which the outputs of each kind depend."""
    inputs, outputs = iter(graph.inputs), iter(graph.outputs)
    for kind in kinds:
        entering = [next(inputs) for _ in range(kind.num_inputs)]
        leaving = [next(outputs) for _ in range(kind.num_outputs)]
        needed = ancestors(leaving)
        yield kind, Template(entering, [node for node in graph if node in needed], leaving)


def ancestors(values: Sequence[onnx_ir.Value]) -> set[onnx_ir.Node]:
    """Return all nodes on which values depend."""
    found: set[onnx_ir.Node] = set()
    open_values = list(values)
    while open_values:
        node = open_values.pop().producer()
        if node is not None and node not in found:
            found.add(node)
            open_values += [value for value in node.inputs if value is not None]
    return found


def _free_axes(graph: onnx_ir.Graph, template: Template, kind: Kind) -> None:
    """Let nodes that say sizes say them for any batch and any length of cache."""
    open_shapes = [_open_shape(kind, index, value) for index, value in enumerate(template.inputs)]
    for node in template.nodes:
        copy_sizes(graph, node)
        if node.op_type == "Expand":
            _expand_to_batch(graph, node, template.inputs[0])
    for value in (*template.inputs, *(value for node in template.nodes for value in node.outputs)):
        value.shape = None
    for value, open_shape in zip(template.inputs, open_shapes, strict=True):
        value.shape = open_shape


def _open_shape(kind: Kind, index: int, value: onnx_ir.Value) -> onnx_ir.Shape:
    """Return the shape of an input, the batch and the length of the cache left open."""
    assert value.shape is not None  # inputs have one
    sizes: list[int | str] = list(value.shape.numpy())
    if kind.sort == "step" and index == 1:  # rows of the depth embedding
        return onnx_ir.Shape(sizes)
    open_axes = ["batch", "seen"] if index > 1 else ["batch"]
    return onnx_ir.Shape([*open_axes, *sizes[len(open_axes) :]])


def _expand_to_batch(graph: onnx_ir.Graph, node: onnx_ir.Node, entering: onnx_ir.Value) -> None:
    """Let an expansion read its first size off what enters the part."""
    after = node.outputs[0]
    if after.shape is None:  # of indices, which no batch has
        return
    size = onnx_ir.node("Shape", [entering], {"start": 0, "end": 1})
    rest = _constant(graph, node, after.shape.numpy()[1:])
    whole = onnx_ir.node("Concat", [size.outputs[0], rest], {"axis": 0})
    graph.insert_before(node, [size, whole])
    node.replace_input_with(1, whole.outputs[0])


def copy_sizes(graph: onnx_ir.Graph, node: onnx_ir.Node) -> None:
    """Let a node that reshapes say sizes by those before it, as far as they are the same."""
    if node.op_type != "Reshape":
        return
    before, after = node.inputs[0], node.outputs[0]
    assert before is not None
    if before.shape is None or after.shape is None:  # of indices, which no batch has
        return
    node.attributes["allowzero"] = onnx_ir.AttrInt64("allowzero", 0)
    sizes = _copied(before.shape.numpy(), after.shape.numpy())
    node.replace_input_with(1, _constant(graph, node, sizes))


def _copied(before: Sequence[int], after: Sequence[int]) -> list[int]:
    """Say the sizes after a reshape by those before it, as far as they are the same.

    >>> _copied([3, 7, 16], [3, 7, 8, 2]), _copied([3, 196, 32], [588, 32])
    ([0, 0, 8, 2], [-1, 32])
    """
    sizes = list(after)
    for axis, (old, new) in enumerate(zip(before, after, strict=False)):
        if old != new:
            break
        sizes[axis] = 0
    if sizes[0] != 0:
        sizes[0] = -1
    return sizes


def _constant(graph: onnx_ir.Graph, before: onnx_ir.Node, sizes: Sequence[int]) -> onnx_ir.Value:
    node = onnx_ir.node("Constant", [], {"value": onnx_ir.tensor(np.array(sizes, np.int64))})
    graph.insert_before(before, node)
    return node.outputs[0]


def assemble(
    network: ReeFL, segment: Segment, templates: Mapping[Kind, Template], arrays: Arrays
) -> onnx_ir.Model:
    """Put the graph of a segment together.

    Args:
        network: The network.
        segment: The segment.
        templates: Every kind of part that it consists of.
        arrays: The network's arrays, whose names the weights bear.
    """
    inputs = [
        onnx_ir.val(spec.name, dtype=_DTYPES[spec.dtype], shape=list(spec.shape))
        for spec in segment.inputs
    ]
    opsets = {"": OPSET_VERSION}
    graph = onnx_ir.Graph(inputs, [], nodes=[], opset_imports=opsets, name=segment.name)
    tokens, *cache = inputs
    logits: list[onnx_ir.Value] = []
    for part in parts_of(network, segment):
        placing = _Placing(graph, part, arrays)
        if part.kind.sort == "step":
            entering = [tokens, placing.depth_rows(), *cache]
            tokens, *cache = placing.place(templates[part.kind], entering)
            cache, logits = cache[:2], cache[2:]
        else:
            (tokens,) = placing.place(templates[part.kind], [tokens])
    outputs = [tokens, *cache, *logits][-len(segment.outputs) :]
    for value, spec in zip(outputs, segment.outputs, strict=True):
        value.name, value.shape = spec.name, onnx_ir.Shape(list(spec.shape))
    graph.outputs.extend(outputs)
    model = onnx_ir.Model(graph, ir_version=IR_VERSION)
    RemoveUnusedNodesPass()(model)
    return model


class _Placing:
    """Puts a part into a graph, reading the arrays of its block."""

    def __init__(self, graph: onnx_ir.Graph, part: Part, arrays: Arrays) -> None:
        self._graph = graph
        self._part = part
        self._arrays = arrays
        self._prefix = f"{part.kind.sort}_{part.block_index}/"

    def place(self, template: Template, entering: Sequence[onnx_ir.Value]) -> list[onnx_ir.Value]:
        """Append the nodes of a template; return what leaves it."""
        here = dict(zip(template.inputs, entering, strict=True))
        for node in template.nodes:
            outputs = [
                onnx_ir.val(f"{self._prefix}{value.name}", dtype=value.dtype)
                for value in node.outputs
            ]
            self._graph.append(
                onnx_ir.Node(
                    node.domain,
                    node.op_type,
                    [
                        None if value is None else here.get(value) or self._constant(value)
                        for value in node.inputs
                    ],
                    node.attributes,
                    outputs=outputs,
                    name=f"{self._prefix}{node.name}",
                )
            )
            here.update(zip(node.outputs, outputs, strict=True))
        return [here[value] for value in template.outputs]

    def depth_rows(self) -> onnx_ir.Value:
        """Return the rows of the depth embedding that a step reads: the meta token's, its own."""
        name = f"{self._prefix}depth_rows"
        embedding = self._weight(_DEPTH_EMBEDDING)
        rows = np.array([0, self._part.block_index + 1])
        gather = onnx_ir.node("Gather", [embedding, self._initialiser(f"{name}_index", rows)])
        gather.outputs[0].name, gather.outputs[0].dtype = name, onnx_ir.DataType.FLOAT
        self._graph.append(gather)
        return gather.outputs[0]

    def _constant(self, value: onnx_ir.Value) -> onnx_ir.Value:
        """Return what stands here for an initialiser of a template."""
        assert value.name is not None  # initialisers have names,
        assert value.const_value is not None  # and values
        *_, name = value.name.split(_VIEW_PREFIX)
        if name in self._arrays:
            return self._weight(self._renamed(name))
        return self._initialiser(f"{self._prefix}{value.name}", value.const_value.numpy())

    def _renamed(self, name: str) -> str:
        kind = self._part.kind
        return name.replace(f"blocks.{kind.variant}.", f"blocks.{self._part.block_index}.", 1)

    def _weight(self, name: str) -> onnx_ir.Value:
        return self._initialiser(name, self._arrays[name])

    def _initialiser(self, name: str, array: NDArray[Any]) -> onnx_ir.Value:
        if name not in self._graph.initializers:
            value = onnx_ir.val(name, const_value=onnx_ir.tensor(array, name=name))
            self._graph.register_initializer(value)
        return self._graph.initializers[name]

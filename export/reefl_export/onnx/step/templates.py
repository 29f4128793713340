"""How do traced pieces become nodes that can be placed anywhere?

A piece's nodes fall into two halves: those that what leaves it forward depends on, and the rest,
which only the way back needs. What the way back reads of the forward half is kept until then; but
what is large and costs next to nothing is computed again.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import onnx_ir
from torch.export import ExportedProgram

from reefl_export.onnx.assembly import ancestors, converted, copy_sizes
from reefl_export.onnx.simplify import simplify
from reefl_export.onnx.step.gate import gate_in_trace
from reefl_export.onnx.step.parts import Piece
from reefl_export.quiet import quiet

# What a value's shape was when it was traced.
_SHAPE = "traced shape"
# What a way back reads what entered of, too, and computes its result again from that.
_CHEAP = ("Gelu", "LayerNormalization")


@dataclass(frozen=True, slots=True)
class Template:
    """The nodes of a piece, in order, and where values enter and leave, by name.

    Attributes:
        inputs: What enters: forward as well as back.
        forward: The nodes of the way forward.
        outputs: What leaves on it.
        back: The nodes of the way back.
        gradients: What leaves on that.
    """

    inputs: dict[str, onnx_ir.Value]
    forward: tuple[onnx_ir.Node, ...]
    outputs: dict[str, onnx_ir.Value]
    back: tuple[onnx_ir.Node, ...]
    gradients: dict[str, onnx_ir.Value]


@quiet("torch.onnx")
def templates_of(pieces: Sequence[Piece], program: ExportedProgram) -> dict[str, Template]:
    """Convert traced pieces to ONNX, each for any length of cache; by the pieces' names."""
    model = converted(program)
    for node in list(model.graph):
        copy_sizes(model.graph, node)
    _forget_shapes(pieces, model.graph)
    simplify(model)
    return dict(_split(pieces, model.graph))


def _forget_shapes(pieces: Sequence[Piece], graph: onnx_ir.Graph) -> None:
    """Leave the length of the cache open, and so whatever follows from it."""
    for node in graph:
        for value in node.outputs:
            value.meta[_SHAPE], value.shape = value.shape, None
    entering = iter(graph.inputs)
    for piece in pieces:
        for name, value in zip(piece.inputs, entering, strict=False):
            value.meta[_SHAPE] = value.shape
            if name.endswith(("keys", "values")):
                assert value.shape is not None  # inputs have one
                batch, _, width = value.shape
                value.shape = onnx_ir.Shape([batch, f"num_{name}", width])


def _split(pieces: Sequence[Piece], graph: onnx_ir.Graph) -> Iterator[tuple[str, Template]]:
    entering, leaving = iter(graph.inputs), iter(graph.outputs)
    for piece in pieces:
        inputs = {name: next(entering) for name in piece.inputs}
        outputs = {name: next(leaving) for name in piece.outputs}
        gradients = {name: next(leaving) for name in piece.gradients}
        forward = ancestors(list(outputs.values()))
        back = ancestors(list(gradients.values())) - forward
        way_back = [node for node in graph if node in back]
        if piece.name.startswith("block"):
            way_back = list(_computing_again(way_back, forward, inputs["next_tokens"]))
        yield (
            piece.name,
            Template(
                inputs,
                tuple(node for node in graph if node in forward),
                outputs,
                tuple(way_back),
                gradients,
            ),
        )


def _computing_again(
    back: Sequence[onnx_ir.Node], forward: set[onnx_ir.Node], arriving: onnx_ir.Value
) -> Iterator[onnx_ir.Node]:
    """Give the nodes of a way back, and before them those that compute what is not kept.

    Args:
        back: The nodes.
        forward: Those of the way forward.
        arriving: A gradient: nothing is computed again before it is known.
    """
    again: dict[onnx_ir.Value, onnx_ir.Value] = {}
    for node in back:
        for index, value in enumerate(node.inputs):
            chain = [] if value is None or value in again else _cheap_chain(value, forward)
            for step in chain:
                yield from _copied(step, again, arriving)
            if value in again:
                node.replace_input_with(index, again[value])
        yield node


def _cheap_chain(value: onnx_ir.Value, forward: set[onnx_ir.Node]) -> list[onnx_ir.Node]:
    """Return the nodes that compute a value cheaply from one that is kept anyway, in order."""
    node = value.producer()
    if node is None or node not in forward or value is not node.outputs[0]:
        return []
    if node.op_type in _CHEAP:
        return [node]
    if node.op_type == "Reshape":
        assert node.inputs[0] is not None
        chain = _cheap_chain(node.inputs[0], forward)
        return [*chain, node] if chain else []
    return []


def _copied(
    node: onnx_ir.Node, again: dict[onnx_ir.Value, onnx_ir.Value], arriving: onnx_ir.Value
) -> Iterator[onnx_ir.Node]:
    """Give a copy of a node of a chain; the first one's input passes a gate."""
    first, *others = node.inputs
    assert first is not None
    if first not in again:
        passing = gate_in_trace(first, after=arriving, shape=first.meta[_SHAPE].numpy())
        yield passing
        again[first] = passing.outputs[0]
    said = node.outputs[0]
    leaving = onnx_ir.Value(name=f"{said.name}_again", type=said.type)
    copy = onnx_ir.Node(
        node.domain,
        node.op_type,
        [again[first], *others],
        node.attributes.values(),
        outputs=[leaving],
        name=f"{node.name}_again",
    )
    again[said] = leaving
    yield copy

"""How do traced pieces become nodes that can be placed anywhere?

A piece's nodes fall into two halves: those that what leaves it forward depends on, and the rest,
which only the way back needs.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import onnx_ir
import onnxscript
from torch.export import ExportedProgram

from reefl_export.onnx.assembly import ancestors, converted, copy_sizes
from reefl_export.onnx.step.parts import Piece
from reefl_export.quiet import quiet


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
    onnxscript.optimizer.optimize(model)
    return dict(_split(pieces, model.graph))


def _forget_shapes(pieces: Sequence[Piece], graph: onnx_ir.Graph) -> None:
    """Leave the length of the cache open, and so whatever follows from it."""
    for node in graph:
        for value in node.outputs:
            value.shape = None
    entering = iter(graph.inputs)
    for piece in pieces:
        for name, value in zip(piece.inputs, entering, strict=False):
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
        yield (
            piece.name,
            Template(
                inputs,
                tuple(node for node in graph if node in forward),
                outputs,
                tuple(node for node in graph if node in back),
                gradients,
            ),
        )

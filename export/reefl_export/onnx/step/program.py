"""How does a graph that was traced once become a program, without being traced again?

``torch.export`` traces what it is given, and ``torch.onnx.export`` once more, to take operators
apart that ONNX lacks. A graph that ``make_fx`` has traced in ATen's core operators needs neither,
and each takes longer than all else.
"""

from typing import Any, Self

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.export.exported_program import ModuleCallEntry
from torch.export.graph_signature import (
    ExportGraphSignature,
    InputKind,
    InputSpec,
    OutputKind,
    OutputSpec,
    TensorArgument,
)
from torch.fx import Graph, GraphModule, Node

aten = torch.ops.aten

# What gives what it takes, where there are no gradients.
_SAME = (aten.alias.default, aten.detach.default, aten.lift_fresh_copy.default)


class _CoreProgram(ExportedProgram):
    """A program of ATen's core operators, of which none is to be taken apart."""

    def run_decompositions(self, *_: Any, **__: Any) -> Self:
        """Return the program itself."""
        return self


def as_program(module: GraphModule) -> ExportedProgram:
    """Return a graph of ATen's core operators, traced without open sizes, as a program.

    Args:
        module: The graph, which is changed: what it holds enters it before all else.
    """
    graph = module.graph
    for node in list(graph.nodes):
        if node.target in _SAME:
            node.replace_all_uses_with(node.args[0])
    graph.eliminate_dead_code()
    given = graph.find_nodes(op="placeholder")
    held = {str(node.target): getattr(module, str(node.target)) for node in _holding(graph)}
    entering = {name: _enter(graph, name, array, given[0]) for name, array in held.items()}
    graph.lint()
    inputs = [
        InputSpec(InputKind.CONSTANT_TENSOR, TensorArgument(node.name), name)
        for name, node in entering.items()
    ]
    inputs += [InputSpec(InputKind.USER_INPUT, TensorArgument(node.name), None) for node in given]
    leaving: Any = graph.output_node().args[0]
    outputs = [
        OutputSpec(OutputKind.USER_OUTPUT, TensorArgument(each.name), None) for each in leaving
    ]
    return _CoreProgram(
        root={},
        graph=graph,
        graph_signature=ExportGraphSignature(inputs, outputs),
        state_dict={},
        range_constraints={},
        module_call_graph=[ModuleCallEntry("")],
        constants=held,
    )


def _holding(graph: Graph) -> list[Node]:
    return list(graph.find_nodes(op="get_attr"))


def _enter(graph: Graph, name: str, array: Tensor, first: Node) -> Node:
    """Let an array that a graph holds enter it, before the first of what enters."""
    with graph.inserting_before(first):
        entering = graph.placeholder(f"held_{name}")
    entering.meta["val"] = first.meta["val"].fake_mode.from_tensor(array)
    for node in _holding(graph):
        if node.target == name:
            node.replace_all_uses_with(entering)
            graph.erase_node(node)
    return entering

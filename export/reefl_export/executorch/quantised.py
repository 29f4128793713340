"""How does a float32 program become one whose linear layers compute in 8 bits?

The program is traced once for all precisions, in ExecuTorch's edge dialect. A precision is a copy
that says, in the operations by which XNNPACK knows a product of integers, where numbers are rounded
to integers and what these mean: around its inputs, its weights and, static, its output.
"""

from collections.abc import Sequence
from operator import getitem
from typing import Any

import torch
from executorch.exir.dialects._ops import ops as edge_ops
from torch import Tensor, fx, nn
from torch._subclasses import FakeTensorMode
from torch.export import ExportedProgram
from torch.export.graph_signature import (
    ExportGraphSignature,
    InputKind,
    InputSpec,
    TensorArgument,
)

from reefl_export.executorch.int8 import LARGEST, LEAST, Rounding, Roundings, array_name, matches
from reefl_export.segments import VIEW_PREFIX

_OPS: Any = edge_ops.edge.quantized_decomposed
_LINEAR: Any = edge_ops.edge.aten.linear.default
_INT8 = (LEAST, LARGEST, torch.int8)

# Weights are rounded to the whole range of 8 bits, whose halves differ in length.
_WEIGHT_STEPS = 127.5


def quantised(
    program: ExportedProgram, keep_float: Sequence[str], roundings: Roundings
) -> ExportedProgram:
    """Return a program whose linear layers compute in 8 bits.

    Args:
        program: A segment in the edge dialect, float32, written for XNNPACK; it stays as it is.
        keep_float: Patterns of the names of layers that do not.
        roundings: What the static layers take and give; all others are dynamic.
    """
    copy = _Copy(program)
    for linear in copy.graph.find_nodes(op="call_function", target=_LINEAR):
        rows, weight, *bias = linear.args
        layer = copy.layer_of(weight)
        if layer is None or matches(array_name(layer), keep_float):
            continue
        taken, given = roundings.get(layer, (None, None))
        readers = list(linear.users)
        with copy.graph.inserting_before(linear):
            linear.args = (copy.rounded(rows, taken), copy.rounded_weight(weight), *bias)
        if given is not None:
            with copy.graph.inserting_before(linear.next):
                rounded = copy.rounded(linear, given)
            for reader in readers:
                reader.replace_input_with(linear, rounded)
    return copy.finished()


class _Copy:
    """A copy of a program, to be changed; arrays that stay as they are, are shared."""

    def __init__(self, program: ExportedProgram) -> None:
        self._program = program
        self._arrays = dict(program.state_dict)
        self._specs = {spec.arg.name: spec for spec in program.graph_signature.input_specs}
        self._scales: dict[fx.Node, tuple[fx.Node, fx.Node]] = {}
        self.graph = fx.Graph()
        copies: dict[fx.Node, fx.Node] = {}
        for node in program.graph.nodes:
            copies[node] = self.graph.node_copy(node, copies.__getitem__)
        self._mode: FakeTensorMode = next(iter(self.graph.nodes)).meta["val"].fake_mode

    def layer_of(self, weight: fx.Node) -> str | None:
        """Return the name of the layer whose weight this is; None if it is not a layer's."""
        spec = self._specs.get(weight.name)
        if spec is None or spec.kind != InputKind.PARAMETER:
            return None
        return str(spec.target).removeprefix(VIEW_PREFIX).removesuffix(".weight")

    def rounded(self, array: fx.Node, rounding: Rounding | None) -> fx.Node:
        """Add the rounding of an array for one reader: XNNPACK's partitioner shares none.

        Args:
            array: Rows (..., D).
            rounding: Of the array as a whole; None for one that fits each row.
        """
        if rounding is not None:
            arguments = (*rounding, *_INT8)
            integers = self._call(_OPS.quantize_per_tensor.default, array, *arguments)
            return self._call(_OPS.dequantize_per_tensor.default, integers, *arguments)
        fitting = self._call(_OPS.choose_qparams_per_token_asymmetric.default, array, torch.int8)
        parameters = (*(self._call(getitem, fitting, index) for index in range(2)), *_INT8)
        integers = self._call(_OPS.quantize_per_token.default, array, *parameters)
        return self._call(_OPS.dequantize_per_token.default, integers, *parameters, torch.float32)

    def rounded_weight(self, weight: fx.Node) -> fx.Node:
        """Turn a weight (O, D) into integers where it lies, once, and add what they mean."""
        if weight not in self._scales:
            self._scales[weight] = self._round_in_place(weight)
        arguments = (*self._scales[weight], 0, *_INT8)
        return self._call(_OPS.dequantize_per_channel.default, weight, *arguments)

    def finished(self) -> ExportedProgram:
        """Return the copy as it is now."""
        module = fx.GraphModule(self._program.graph_module, self.graph)
        inputs = [self._specs[node.name] for node in self.graph.find_nodes(op="placeholder")]
        outputs = self._program.graph_signature.output_specs
        return ExportedProgram(
            root=module,
            graph=module.graph,
            graph_signature=ExportGraphSignature(inputs, outputs),
            state_dict=self._arrays,
            range_constraints=self._program.range_constraints,
            module_call_graph=self._program.module_call_graph,
            example_inputs=self._program.example_inputs,
            constants=self._program.constants,
            verifiers=[self._program.verifier],
        )

    def _round_in_place(self, weight: fx.Node) -> tuple[fx.Node, fx.Node]:
        name = str(self._specs[weight.name].target)
        real = self._arrays[name]
        largest = real.abs().amax(dim=1)
        scales = (largest / _WEIGHT_STEPS).clamp(min=torch.finfo(torch.float32).eps)
        integers = (real * (1 / scales)[:, None]).round().clamp(LEAST, LARGEST).to(torch.int8)
        self._set(weight, name, integers)
        return (
            self._added(weight, "scales", scales),
            self._added(weight, "zeros", torch.zeros(len(scales), dtype=torch.int64)),
        )

    def _added(self, weight: fx.Node, what: str, array: Tensor) -> fx.Node:
        """Add an array beside a weight."""
        name = f"{self._specs[weight.name].target}_{what}"
        with self.graph.inserting_after(weight):
            node = self.graph.placeholder(f"{weight.name}_{what}")
        self._specs[node.name] = InputSpec(
            InputKind.PARAMETER, TensorArgument(node.name), name, persistent=None
        )
        self._set(node, name, array)
        return node

    def _set(self, node: fx.Node, name: str, array: Tensor) -> None:
        # A parameter: of those, what the delegate has taken over leaves the program.
        self._arrays[name] = nn.Parameter(array, requires_grad=False)
        node.meta["val"] = self._mode.from_tensor(self._arrays[name], static_shapes=True)

    def _call(self, operator: Any, *arguments: Any) -> fx.Node:
        node = self.graph.call_function(operator, arguments)
        values = fx.node.map_arg(arguments, lambda argument: argument.meta["val"])
        with self._mode:
            node.meta["val"] = operator(*values)
        return node

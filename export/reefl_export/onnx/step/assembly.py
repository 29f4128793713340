"""How do the pieces become the graph of one training step?

The parts forward, the loss, the parts back in reverse, the descent of every trained array. Where
something is read several times, the gradients of all its readers are added. What nobody needs, such
as the way back through frozen blocks before the first trained array, is dropped in the end.

The order in which updates stand decides when onnxruntime computes them: it goes back from the last
node to what that needs. So the deepest array comes last: its gradient is known first. An update may
be written where the array lies (``in_place.py``).
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import onnx_ir
from numpy.typing import NDArray
from onnx_ir.passes.common import RemoveUnusedNodesPass

from reefl_edge.array_files.safetensors import Arrays
from reefl_edge.models.reefl import ReeFL
from reefl_edge.submodel import TensorSpec
from reefl_export.onnx.assembly import IR_VERSION, OPSET_VERSION
from reefl_export.onnx.parts import Part
from reefl_export.onnx.step.gate import gate, gate_shape, is_gate
from reefl_export.onnx.step.in_place import Readers
from reefl_export.onnx.step.parts import step_parts
from reefl_export.onnx.step.templates import Template

_DEPTH_EMBEDDING = "accumulator.depth_embedding"
_DTYPES = {
    "uint8": onnx_ir.DataType.UINT8,
    "float32": onnx_ir.DataType.FLOAT,
    "int64": onnx_ir.DataType.INT64,
    "bool": onnx_ir.DataType.BOOL,
}

Values = dict[str, onnx_ir.Value]


def assemble_step(
    network: ReeFL,
    templates: Mapping[str, Template],
    arrays: Arrays,
    *,
    batch_size: int,
    recompute: bool = False,
) -> onnx_ir.Model:
    """Put the graph of a training step together.

    Args:
        network: The network, of the regime to train.
        templates: Its pieces, by name.
        arrays: Its arrays, of which the frozen ones become initialisers.
        batch_size: Images of a step, as traced.
        recompute: Compute every block again on the way back, from what entered it.
    """
    signature = network.submodel.step_signature()
    inputs = {spec.name: _input(spec, batch_size) for spec in signature.inputs}
    graph = onnx_ir.Graph(
        list(inputs.values()),
        [],
        nodes=[],
        opset_imports={"": OPSET_VERSION},
        name=f"train_{network.submodel.regime}",
    )
    model = onnx_ir.Model(graph, ir_version=IR_VERSION)
    step = _Step(graph, inputs, templates, arrays, recompute)
    leaving, gradients = step.run(network)
    graph.outputs.extend([*leaving.values(), *gradients.values()])
    RemoveUnusedNodesPass()(model)  # what nobody needs reads no array
    leaving |= step.descend(gradients)
    graph.outputs.clear()
    for spec in signature.outputs:
        value = leaving[spec.name]
        value.name, value.dtype = spec.name, _DTYPES[spec.dtype]
        value.shape = onnx_ir.Shape(list(spec.shape))
        graph.outputs.append(value)
    return model


def _input(spec: TensorSpec, batch_size: int) -> onnx_ir.Value:
    shape = [batch_size if size == "batch" else size for size in spec.shape]
    return onnx_ir.val(spec.name, dtype=_DTYPES[spec.dtype], shape=shape)


class _Step:
    """Places the pieces of a step, and keeps what flows between them."""

    def __init__(
        self,
        graph: onnx_ir.Graph,
        inputs: Values,
        templates: Mapping[str, Template],
        arrays: Arrays,
        recompute: bool,
    ) -> None:
        self._graph = graph
        self._inputs = inputs
        self._templates = templates
        self._arrays = arrays
        self._recompute = recompute
        self._gradients: Values = {}  # of arrays, as far as they are known
        self._rows: list[onnx_ir.Value] = []  # of the depth embedding, two of each step

    def run(self, network: ReeFL) -> tuple[Values, Values]:
        """Append the ways forward and back; return what leaves the loss, and every gradient."""
        parts = step_parts(network)
        placed, logits = self._forward(parts)
        loss = _Placed(self._graph, self._templates["loss"], "loss")
        named = {f"logits_{index}": value for index, value in enumerate(logits)}
        leaving = loss.forward(self._inputs | named)
        of_logits = loss.back({})
        self._back(parts, placed, [of_logits[name] for name in named])
        self._stack_rows(network.submodel.depth)
        trained = network.submodel.trained_arrays()
        return leaving, {spec.name: self._gradients[spec.name] for spec in trained}

    def descend(self, gradients: Values) -> Values:
        """Append the update of every array; return what leaves the step, by name."""
        readers = Readers(self._graph)
        leaving: Values = {}
        for name in sorted(gradients, key=_depth):
            descent = _Placed(self._graph, self._templates["descent"], f"descent/{name}")
            array = readers.wait_for(self._inputs[name], gradients[name])
            given = {"array": array, "gradient": gradients[name]}
            (leaving[f"next_{name}"],) = descent.forward(self._inputs | given).values()
        return leaving

    def _forward(self, parts: tuple[Part, ...]) -> tuple[list["_Placed"], list[onnx_ir.Value]]:
        """Place every part; return them, and the logits of every exit."""
        flowing = {"images": self._inputs["images"]}
        placed, logits = [], []
        for part in parts:
            template = self._templates[part.kind.name]
            here = _Placed(self._graph, template, f"{part.kind.sort}_{part.block_index}")
            if part.kind.sort == "step":
                flowing["depth_rows"] = self._depth_rows(part.block_index)
            named = {
                name: flowing[name] if name in flowing else self._array(_renamed(name, part))
                for name in template.inputs
                if name not in template.outputs
            }
            leaving = here.forward(named)
            placed.append(here)
            flowing |= {name.removeprefix("next_"): value for name, value in leaving.items()}
            if part.kind.is_exit:
                logits.append(flowing.pop("logits"))
        return placed, logits

    def _back(
        self, parts: tuple[Part, ...], placed: list["_Placed"], of_logits: list[onnx_ir.Value]
    ) -> None:
        """Go back through every part, and add up the gradients of the arrays."""
        flowing: Values = {}
        for part, here in zip(reversed(parts), reversed(placed), strict=True):
            if part.kind.is_exit:
                flowing["logits"] = of_logits.pop()
            arriving = {name: flowing[name.removeprefix("next_")] for name in here.outputs}
            if self._recompute and part.kind.sort == "block":
                here = here.again(after=arriving["next_tokens"])
            for name, gradient in here.back(arriving).items():
                if name in ("tokens", "keys", "values"):
                    flowing[name] = gradient
                elif name == "depth_rows":
                    self._rows.append(gradient)
                else:
                    self._add(_renamed(name, part), gradient)

    def _add(self, name: str, gradient: onnx_ir.Value) -> None:
        """Add to the gradient of an array."""
        if name in self._gradients:
            gradient = self._append("Add", [self._gradients[name], gradient])
        self._gradients[name] = gradient

    def _depth_rows(self, block_index: int) -> onnx_ir.Value:
        """Return the rows of the depth embedding that a step reads: the meta token's, its own."""
        rows = self._constant(np.array([0, block_index + 1]))
        return self._append("Gather", [self._array(_DEPTH_EMBEDDING), rows])

    def _stack_rows(self, depth: int) -> None:
        """Put the gradient of the depth embedding together from those of its rows, deepest first.

        Each step gives two: of the meta token's row, which all share, and of its own.
        """
        rows = self._append("Concat", list(reversed(self._rows)), {"axis": 0})  # (2 depth, D)
        num_rows, _ = self._arrays[_DEPTH_EMBEDDING].shape
        # The gradient of row r is the sum of those that ``selects`` marks in its row.
        selects = np.zeros((num_rows, 2 * depth), np.float32)
        selects[0, ::2] = 1
        selects[np.arange(1, depth + 1), np.arange(1, 2 * depth, 2)] = 1
        self._gradients[_DEPTH_EMBEDDING] = self._append("MatMul", [self._constant(selects), rows])

    def _array(self, name: str) -> onnx_ir.Value:
        """Return an array: what enters if it is trained, else a constant."""
        if name in self._inputs:
            return self._inputs[name]
        if name not in self._graph.initializers:
            tensor = onnx_ir.tensor(self._arrays[name], name=name)
            self._graph.register_initializer(onnx_ir.val(name, const_value=tensor))
        return self._graph.initializers[name]

    def _constant(self, array: NDArray[Any]) -> onnx_ir.Value:
        return self._append("Constant", [], {"value": onnx_ir.tensor(array)})

    def _append(
        self, operator: str, inputs: list[onnx_ir.Value], attributes: dict[str, Any] | None = None
    ) -> onnx_ir.Value:
        node = onnx_ir.node(operator, inputs, attributes)
        self._graph.append(node)
        return node.outputs[0]


class _Placed:
    """A piece in a graph.

    Args:
        graph: The graph.
        template: The piece.
        prefix: What the names of its values begin with here.
    """

    def __init__(self, graph: onnx_ir.Graph, template: Template, prefix: str) -> None:
        self._graph = graph
        self._template = template
        self._prefix = prefix
        self._here: dict[onnx_ir.Value, onnx_ir.Value] = {}
        self._is_again = False

    @property
    def outputs(self) -> Iterable[str]:
        """Names of what leaves on the way forward."""
        return self._template.outputs

    def forward(self, entering: Values) -> Values:
        """Append the way forward; return what leaves it, by name."""
        self._enter(entering)
        self._place(self._template.forward)
        return {name: self._here[value] for name, value in self._template.outputs.items()}

    def again(self, *, after: onnx_ir.Value) -> "_Placed":
        """Append the way forward once more, to be computed when a gradient is known."""
        again = _Placed(self._graph, self._template, f"{self._prefix}/again")
        again._is_again = True
        entered = {name: self._here.get(value) for name, value in self._template.inputs.items()}
        known = {name: value for name, value in entered.items() if value is not None}
        tokens = self._template.inputs["tokens"]
        assert tokens.shape is not None  # inputs have one
        nodes, passed = gate(known["tokens"], after=[after], shape=tokens.shape.numpy())
        self._graph.extend(nodes)
        again.forward(known | {"tokens": passed})
        return again

    def back(self, arriving: Values) -> Values:
        """Append the way back; return the gradients of what entered and of arrays, by name.

        Args:
            arriving: The gradient of what left, by its name.
        """
        self._enter(arriving)
        self._place(self._template.back)
        return {name: self._here[value] for name, value in self._template.gradients.items()}

    def _enter(self, entering: Values) -> None:
        for name, value in self._template.inputs.items():
            if name in entering:
                self._here[value] = entering[name]

    def _place(self, nodes: Iterable[onnx_ir.Node]) -> None:
        for node in nodes:
            if is_gate(node):
                self._pass_gate(node)
                continue
            outputs = [
                onnx_ir.val(f"{self._prefix}/{value.name}", dtype=value.dtype)
                for value in node.outputs
            ]
            self._graph.append(
                onnx_ir.Node(
                    node.domain,
                    node.op_type,
                    [None if value is None else self._value(value) for value in node.inputs],
                    node.attributes,
                    outputs=outputs,
                    name=f"{self._prefix}/{node.name}",
                )
            )
            self._here.update(zip(node.outputs, outputs, strict=True))

    def _pass_gate(self, node: onnx_ir.Node) -> None:
        """Append a gate; what is computed again as a whole needs none inside."""
        array, after = node.inputs
        assert array is not None
        assert after is not None
        passed = self._value(array)
        if not self._is_again:
            nodes, passed = gate(passed, after=[self._value(after)], shape=gate_shape(node))
            self._graph.extend(nodes)
        self._here[node.outputs[0]] = passed

    def _value(self, value: onnx_ir.Value) -> onnx_ir.Value:
        """Return what stands here for a value of the template."""
        if value not in self._here:  # a small constant
            assert value.const_value is not None
            name = f"{self._prefix}/{value.name}"
            constant = onnx_ir.val(name, const_value=onnx_ir.tensor(value.const_value.numpy()))
            self._graph.register_initializer(constant)
            self._here[value] = constant
        return self._here[value]


def _renamed(name: str, part: Part) -> str:
    """Return the name that an array of the first part of a kind has in this one."""
    kind = part.kind
    return name.replace(f"blocks.{kind.variant}.", f"blocks.{part.block_index}.", 1)


def _depth(name: str) -> int:
    """Return how deep an array lies: of those outside the blocks, what all share comes last."""
    if name.startswith("blocks."):
        return 1 + int(name.split(".")[1])
    return 0

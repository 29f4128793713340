"""Of which pieces does a training step consist, and how is each kind traced once?

A step goes through the parts of all segments, takes the loss, and goes back through the same parts;
then every trained array descends. Each kind of part is one *piece*, traced forward and back at
once: with the gradients of all that enters it and of all its arrays. Which of these are wanted is
for the assembly, so that one trace serves ``full`` and ``frozen``.

Letters: B batch, E exits, C classes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.func import functional_call
from torch.fx.experimental.proxy_tensor import make_fx

from reefl_edge.finetune.step import descend, step_loss
from reefl_edge.models.reefl import ReeFL
from reefl_edge.submodel import Submodel
from reefl_export.onnx.parts import NUM_SEEN, Kind, Part, Parts, Sort, example, parts_of
from reefl_export.onnx.step.forms import FORMS
from reefl_export.onnx.step.program import as_program
from reefl_export.segments import OtherForms

# What ``Parts`` puts before the name of every array.
_PREFIX = "accumulating.network."
# Not an array of a part: its rows enter.
_DEPTH_EMBEDDING = "accumulator.depth_embedding"
_ANY_SIZE = 3


@dataclass(frozen=True, slots=True)
class Piece:
    """Something that is traced once.

    Attributes:
        name: A name of its own.
        function: Takes what enters, gives what leaves.
        examples: What enters, of the sizes to trace with.
        inputs: Names of what enters.
        outputs: Names of what leaves on the way forward.
        gradients: Names of what leaves on the way back.
    """

    name: str
    function: Callable[..., Sequence[Tensor]]
    examples: tuple[Tensor, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    gradients: tuple[str, ...] = ()


def step_parts(network: ReeFL) -> tuple[Part, ...]:
    """Return the parts of a whole network, in order; the last one gives logits alone."""
    *parts, last = (
        part for segment in network.submodel.segments() for part in parts_of(network, segment)
    )
    kind = Kind("step", is_first=last.kind.is_first, is_exit=True, is_last=True)
    return (*parts, Part(kind, last.block_index))


def pieces_of(network: ReeFL, *, batch_size: int) -> tuple[Piece, ...]:
    """Return the pieces of a network's step: one for each kind of part, the loss, the descent."""
    parts = Parts(network)
    kinds = dict.fromkeys(part.kind for part in step_parts(network))
    return (
        *(_piece(parts, kind, batch_size) for kind in kinds),
        _loss(network.submodel, batch_size),
        _descent(),
    )


def trace_pieces(pieces: Sequence[Piece]) -> ExportedProgram:
    """Trace pieces side by side, in one program that takes what enters each, one after the other.

    What leaves each, forward and then back, leaves the program in the same order.
    """

    def side_by_side(*entering: Tensor) -> tuple[Tensor, ...]:
        waiting = iter(entering)
        return tuple(
            leaving
            for piece in pieces
            for leaving in piece.function(*(next(waiting) for _ in piece.inputs))
        )

    examples = tuple(each for piece in pieces for each in piece.examples)
    into_core: Any = torch.export.default_decompositions().materialize()
    del into_core[torch.ops.aten.select_scatter.default]  # which ONNX has
    with OtherForms(FORMS):
        module = make_fx(side_by_side, into_core, tracing_mode="fake")(*examples)
    return as_program(module)


def _piece(parts: Parts, kind: Kind, batch_size: int) -> Piece:
    """Return a kind of part, forward and back."""
    network = parts.accumulating.network
    entering = example(network.submodel.architecture, kind, batch_size=batch_size)
    arrays = {
        name: parameter.detach()
        for name, parameter in network.named_parameters()
        if _belongs(name, kind)
    }
    inputs, outputs = _INPUTS[kind.sort][: len(entering)], _OUTPUTS[kind.sort]
    if kind.sort == "step":
        outputs = ("logits",) if kind.is_last else outputs[: 3 + kind.is_exit]

    def forward(*given: Tensor) -> tuple[Tensor, ...]:
        named = dict(zip((_PREFIX + name for name in arrays), given[len(inputs) :], strict=True))
        result: tuple[Tensor, ...] = functional_call(parts, named, (kind, *given[: len(inputs)]))
        return result

    def there_and_back(*given: Tensor) -> tuple[Tensor, ...]:
        leaves = [
            each.detach().requires_grad_() if each.is_floating_point() else each
            for each in given[: len(inputs) + len(arrays)]
        ]
        leaving = forward(*leaves)
        wanted = [leaf for leaf in leaves if leaf.requires_grad]
        back = torch.autograd.grad(leaving, wanted, given[len(leaves) :])
        return *(each.detach() for each in leaving), *back

    shapes = _output_shapes(network.submodel, kind, batch_size)
    gradients = (torch.zeros(shapes[name]) for name in outputs)
    return Piece(
        name=kind.name,
        function=there_and_back,
        examples=(*entering, *arrays.values(), *gradients),
        inputs=(*inputs, *arrays, *outputs),
        outputs=outputs,
        gradients=(*(name for name in inputs if name != "images"), *arrays),
    )


_INPUTS: dict[Sort, tuple[str, ...]] = {
    "stem": ("images",),
    "block": ("tokens",),
    "step": ("tokens", "depth_rows", "keys", "values"),
}
_OUTPUTS: dict[Sort, tuple[str, ...]] = {
    "stem": ("next_tokens",),
    "block": ("next_tokens",),
    "step": ("next_tokens", "next_keys", "next_values", "logits"),
}


def _belongs(name: str, kind: Kind) -> bool:
    """Tell whether an array is one that a kind of part reads."""
    if name == _DEPTH_EMBEDDING:
        return False
    match kind.sort:
        case "stem":
            return not name.startswith(("blocks.", "accumulator.", "classifier."))
        case "block":
            return name.startswith(f"blocks.{kind.variant}.")
        case "step":
            return name.startswith(("accumulator.", "classifier.")[: 1 + kind.is_exit])


def _output_shapes(submodel: Submodel, kind: Kind, batch_size: int) -> dict[str, tuple[int, ...]]:
    architecture = submodel.architecture
    num_seen = 1 if kind.is_first else NUM_SEEN + 1
    cache = (batch_size, num_seen, architecture.accumulator_width)
    return {
        "next_tokens": (batch_size, architecture.num_tokens, architecture.width),
        "next_keys": cache,
        "next_values": cache,
        "logits": (batch_size, architecture.num_classes),
    }


def _loss(submodel: Submodel, batch_size: int) -> Piece:
    """Return what is minimised, and the gradients of all logits."""
    num_exits, num_classes = submodel.num_exits, submodel.architecture.num_classes
    logits = tuple(f"logits_{exit_index}" for exit_index in range(num_exits))

    def there_and_back(*given: Tensor) -> tuple[Tensor, ...]:
        leaves = [each.detach().requires_grad_() for each in given[:num_exits]]
        labels, mask, running_losses, distill_weight, teaches, best_teaches = given[num_exits:]
        loss, running_losses, metrics = step_loss(
            torch.stack(leaves), labels, running_losses, distill_weight, teaches, best_teaches, mask
        )
        back = torch.autograd.grad(loss, leaves)
        return running_losses, *metrics, *back

    return Piece(
        name="loss",
        function=there_and_back,
        examples=(
            *torch.zeros(num_exits, batch_size, num_classes).unbind(),
            torch.zeros(batch_size, dtype=torch.int64),
            torch.ones(batch_size),
            torch.zeros(num_exits),
            torch.tensor(1.0),
            torch.zeros(num_exits, num_exits),
            torch.tensor(True),
        ),
        inputs=(
            *logits,
            *("labels", "mask", "running_losses"),
            *("distill_weight", "teaches", "best_teaches"),
        ),
        outputs=("next_running_losses", "loss", "exit_losses", "teacher_index"),
        gradients=logits,
    )


def _descent() -> Piece:
    """Return what an array becomes; of any shape."""
    return Piece(
        name="descent",
        function=lambda *given: (descend(*given),),
        examples=(torch.zeros(_ANY_SIZE), torch.zeros(_ANY_SIZE), torch.tensor(1.0)),
        inputs=("array", "gradient", "learning_rate"),
        outputs=("next_array",),
    )

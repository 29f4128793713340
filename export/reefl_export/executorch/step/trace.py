"""How does one local step become a graph of XNNPACK's operations?

It is traced twice: as PyTorch computes it, gradients and all, and once more with every operator
that XNNPACK lacks written in those that it has (``forms.py``). What is traced is ``local_step``,
the one definition of a step.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Interpreter
from torch.fx.experimental.proxy_tensor import make_fx

from reefl_edge.finetune.step import local_step, trained_parameters
from reefl_edge.models.preprocess import normalise
from reefl_edge.models.reefl import ReeFL
from reefl_export.executorch.step.forms import FORMS
from reefl_export.executorch.step.graph import (
    fold_constants,
    merge_equal,
    write_copies,
    write_products,
)
from reefl_export.executorch.step.layers import LAYERS
from reefl_export.segments import OtherForms

_DTYPES = {
    "uint8": torch.uint8,
    "float32": torch.float32,
    "int64": torch.int64,
    "bool": torch.bool,
}


def step_function(network: ReeFL) -> Callable[..., tuple[Tensor, ...]]:
    """Return one local step as a function of the inputs of ``Submodel.step_signature``, in order.

    Its outputs are those of the signature, in order.
    """
    architecture = network.submodel.architecture
    names = [spec.name for spec in network.submodel.trained_arrays()]

    def step(
        images: Tensor,
        labels: Tensor,
        mask: Tensor,
        running_losses: Tensor,
        learning_rate: Tensor,
        distill_weight: Tensor,
        teaches: Tensor,
        best_teaches: Tensor,
        *arrays: Tensor,
    ) -> tuple[Tensor, ...]:
        output = local_step(
            network,
            dict(zip(names, arrays, strict=True)),
            running_losses,
            normalise(images, architecture.mean, architecture.std),
            labels,
            learning_rate,
            distill_weight,
            teaches,
            best_teaches,
            mask,
        )
        return (output.running_losses, *output.metrics, *output.parameters.values())

    return step


def example_inputs(network: ReeFL, batch_size: int) -> tuple[Tensor, ...]:
    """Return inputs of a step: the network's own arrays, and a batch without content."""
    arrays = trained_parameters(network)
    inputs = []
    for spec in network.submodel.step_signature().inputs:
        shape = [batch_size if size == "batch" else size for size in spec.shape]
        inputs.append(arrays.get(spec.name, torch.ones(shape, dtype=_DTYPES[spec.dtype])))
    return tuple(inputs)


def trace_step(network: ReeFL, batch_size: int) -> GraphModule:
    """Trace a step for batches of one size, in XNNPACK's operations as far as it has them."""
    inputs = example_inputs(network, batch_size)
    with OtherForms(LAYERS):
        module = make_fx(step_function(network))(*inputs)
    with torch.no_grad():
        module.graph.eliminate_dead_code()
        fold_constants(module)
        module = make_fx(_as_signed(_InForms(module)))(*inputs)
        fold_constants(module)
        write_products(module)
        fold_constants(module)
        merge_equal(module)
        return write_copies(module)


class _InForms(Interpreter):
    """Runs a graph with the forms that stand for its operators."""

    def call_function(self, target: Any, args: Any, kwargs: Any) -> Any:
        """Run an operator, or its form."""
        return FORMS.get(target, target)(*args, **kwargs)


def _as_signed(interpreter: Interpreter) -> Callable[..., tuple[Tensor, ...]]:
    """Return what runs a step and gives the teacher's index, a number inside, as an integer."""

    def run(*inputs: Tensor) -> tuple[Tensor, ...]:
        running_losses, loss, exit_losses, teacher_index, *arrays = interpreter.run(*inputs)
        return (running_losses, loss, exit_losses, teacher_index.long(), *arrays)

    return run

"""How does a trained network become programs that a converter can take, one per segment?

A *segment view* wraps the network; what the converters cannot take whole is replaced while
tracing, and the training network stays as it is.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from reefl_edge.bundles.artifacts import Target
from reefl_edge.models.reefl import ReeFL
from reefl_edge.runtimes.eager import run_segment
from reefl_edge.submodel import Segment, TensorSpec

# What a view puts before the path of every module and the name of every array.
VIEW_PREFIX = "network."

Forms = dict[Any, Callable[..., Any]]

_DTYPES = {"uint8": torch.uint8, "float32": torch.float32}


class SegmentView(nn.Module):
    """One segment of a network: deployed inputs in, ``Segment.outputs`` out."""

    def __init__(self, network: ReeFL, segment: Segment) -> None:
        super().__init__()
        self.network = network
        self._exit_index = segment.exit_index
        self._num_outputs = len(segment.outputs)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Run the segment on ``Segment.inputs``."""
        return run_segment(self.network, self._exit_index, inputs)[-self._num_outputs :]


def trace_segments(network: ReeFL, *, batch_size: int, forms: Forms) -> dict[str, ExportedProgram]:
    """Trace every segment of a network, by its name.

    Args:
        network: The network, in evaluation mode.
        batch_size: The one batch size of the programs.
        forms: What stands for some operations while tracing.
    """
    return {
        segment.name: trace(
            SegmentView(network, segment),
            tuple(example_input(spec, batch_size) for spec in segment.inputs),
            forms=forms,
        )
        for segment in network.submodel.segments()
    }


def trace(
    module: nn.Module, inputs: tuple[Any, ...], *, forms: Forms, dynamic_shapes: Any = None
) -> ExportedProgram:
    """Trace a module with forms that stand for some operations.

    Args:
        module: The module, in evaluation mode.
        inputs: What it takes, of the sizes to trace with.
        forms: What stands for some operations.
        dynamic_shapes: Which sizes stay open, as ``torch.export`` takes it; None for none.
    """
    with torch.no_grad(), OtherForms(forms):
        return torch.export.export(module, inputs, dynamic_shapes=dynamic_shapes)


def example_input(spec: TensorSpec, batch_size: int) -> Tensor:
    """Return an input of a segment with the right shape and dtype."""
    shape = tuple(batch_size if size == "batch" else size for size in spec.shape)
    return torch.zeros(shape, dtype=_DTYPES[spec.dtype])


class OtherForms(TorchFunctionMode):
    """Traces some operations in forms that a converter takes whole."""

    def __init__(self, forms: Forms) -> None:
        super().__init__()
        self._forms = forms

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Run ``func``, or the form that stands for it."""
        return self._forms.get(func, func)(*args, **(kwargs or {}))


def _attention_by_head(
    query: Tensor, key: Tensor, value: Tensor, *, scale: float | None = None
) -> Tensor:
    """Attend from query to key and value, (B, heads, N, d) each, without a mask.

    ONNX multiplies all heads of all images in one ``MatMul``; PyTorch would put these two axes into
    one before, and apart after.
    """
    *shape, head_width = query.shape
    factor = head_width**-0.5 if scale is None else scale
    scores = _matmul(query * factor, key.transpose(2, 3), [*shape, key.shape[2]])
    return _matmul(scores.softmax(dim=-1), value, list(query.shape))


def _matmul(left: Tensor, right: Tensor, shape: list[int]) -> Tensor:
    product: Tensor = torch.onnx.ops.symbolic(
        "MatMul", (left, right), dtype=torch.float32, shape=shape
    )
    return product


def _linear_on_rows(rows: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Apply a linear layer to rows (..., D) as one product over (rows, D).

    In two dimensions it becomes one ONNX ``Gemm`` that reads the weight as it lies in the
    checkpoint and adds the bias as it goes; in three, a transposed copy of the weight, a product
    and an addition.
    """
    if rows.dim() == 2:
        return functional.linear(rows, weight, bias)
    flat = functional.linear(rows.reshape(-1, rows.shape[-1]), weight, bias)
    return flat.reshape(-1, *rows.shape[1:-1], weight.shape[0])


def _split_as_slices(tokens: Tensor, sizes: tuple[int, int], dim: int) -> tuple[Tensor, Tensor]:
    """Split tokens (B, N, D) into the class token and the patches; XNNPACK takes slices only."""
    assert dim == 1
    return tokens[:, : sizes[0]], tokens[:, sizes[0] :]


def _repeated(array: Tensor, *sizes: int) -> Tensor:
    """Give an array a longer first axis; XNNPACK takes no ``expand``."""
    times = 1 if sizes[0] == -1 else sizes[0] // len(array)
    return array if times == 1 else torch.cat([array] * times)


# What each target is traced with; Core ML has all these operations itself.
FORMS: dict[Target, Forms] = {
    "onnx": {
        functional.scaled_dot_product_attention: _attention_by_head,
        functional.linear: _linear_on_rows,
    },
    # Beside what ``xnnpack.py`` writes anew.
    "executorch": {Tensor.split_with_sizes: _split_as_slices, Tensor.expand: _repeated},
    "coreml": {},
}

"""How does a trained network become programs that a converter can take, one per segment?

A *segment view* wraps the network; what the converters cannot take whole is rewritten here, in the
traced program, and the training network stays as it is.
"""

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from reefl_edge.models.reefl import ReeFL
from reefl_edge.runtimes.eager import run_segment
from reefl_edge.submodel import Segment, TensorSpec

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


def trace_segments(
    network: ReeFL, *, batch_size: int | None
) -> dict[str, ExportedProgram]:
    """Trace every segment of a network, by its name.

    Args:
        network: The network, in evaluation mode.
        batch_size: The one batch size of the programs; None for any.

    Returns:
        Programs whose attention is written as matrix products over (B * heads, N, d), the form
        that every converter takes whole.
    """
    return {
        segment.name: _trace(SegmentView(network, segment), segment, batch_size)
        for segment in network.submodel.segments()
    }


def _trace(view: SegmentView, segment: Segment, batch_size: int | None) -> ExportedProgram:
    # Tracing with a batch of one would fix it at one.
    inputs = tuple(example_input(spec, batch_size or 2) for spec in segment.inputs)
    dynamic_shapes = None
    if batch_size is None:
        batch = Dim("batch", min=1)
        dynamic_shapes = (tuple({0: batch} for _ in inputs),)
    with torch.no_grad():
        program = torch.export.export(view, inputs, dynamic_shapes=dynamic_shapes)
        table = torch.export.default_decompositions()
        table[torch.ops.aten.scaled_dot_product_attention.default] = _batched_attention
        return program.run_decompositions(table)


def example_input(spec: TensorSpec, batch_size: int) -> Tensor:
    """Return an input of a segment with the right shape and dtype."""
    shape = tuple(batch_size if size == "batch" else size for size in spec.shape)
    return torch.zeros(shape, dtype=_DTYPES[spec.dtype])


def _batched_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Scaled dot-product attention as two batched products around a softmax.

    PyTorch's own decomposition guards against rows that are masked out entirely, with operators
    that XNNPACK does not take; nothing is masked here. Products over (B * heads, N, d) need no
    ``expand``, which it does not take either.
    """
    assert attn_mask is None and dropout_p == 0.0 and not is_causal and not enable_gqa
    batch, heads, _, head_width = query.shape
    query, key, value = (rows.flatten(0, 1) for rows in (query, key, value))
    factor = head_width**-0.5 if scale is None else scale
    weights = torch.bmm(query * factor, key.transpose(1, 2)).softmax(dim=-1)
    return torch.bmm(weights, value).unflatten(0, (batch, heads))

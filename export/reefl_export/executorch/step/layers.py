"""Which layers of a network are written anew before gradients are taken?

Attention, whose fused backward pass no runtime has, and the projection of patches, whose backward
pass would be a convolution.

Letters: B batch, H heads, N tokens, d width of a head, D width.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from reefl_export.segments import Forms


class _Attention(torch.autograd.Function):
    """Attention with products over (B * H, N, d), and its backward pass.

    The row sums of weights and their gradients are those of outputs and theirs, which are narrower.
    Source: FlashAttention, Dao et al. 2022, appendix B.
    """

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        weights = torch.bmm(query, key.transpose(1, 2)).softmax(dim=-1)
        attended = torch.bmm(weights, value)
        ctx.save_for_backward(query, key, value, weights, attended)
        return attended

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        (gradient,) = gradients
        query, key, value, weights, attended = ctx.saved_tensors
        row_sums = (gradient * attended).sum(-1, keepdim=True)
        scores = weights * (torch.bmm(gradient, value.transpose(1, 2)) - row_sums)
        return (
            torch.bmm(scores, key),
            torch.bmm(scores.transpose(1, 2), query),
            torch.bmm(weights.transpose(1, 2), gradient),
        )


def _attend(query: Tensor, key: Tensor, value: Tensor, *, scale: float | None = None) -> Tensor:
    """Attend from query to key and value, (B, H, N, d) each, without a mask."""
    factor = query.shape[-1] ** -0.5 if scale is None else scale
    by_head = (rows.flatten(0, 1) for rows in (query * factor, key, value))
    attended: Tensor = _Attention.apply(*by_head)  # type: ignore[no-untyped-call]
    return attended.reshape(query.shape)


def _project_patches(
    images: Tensor, weight: Tensor, bias: Tensor, stride: Sequence[int], *_: object
) -> Tensor:
    """Project patches, (B, 3, height, width) to (B, D, rows, columns), as one product."""
    edge = stride[0]
    batch, channels, height, width = images.shape
    rows, columns = height // edge, width // edge
    cut = images.reshape(batch, channels, rows, edge, columns, edge).permute(0, 2, 4, 1, 3, 5)
    projected = functional.linear(cut.reshape(batch, rows * columns, -1), weight.flatten(1), bias)
    return projected.transpose(1, 2).reshape(batch, -1, rows, columns)


LAYERS: Forms = {
    functional.scaled_dot_product_attention: _attend,
    torch.conv2d: _project_patches,
}

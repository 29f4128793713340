"""In which operations is a training step traced, forward and backward, so that ONNX runs it well?

Autograd would take each operation apart into what PyTorch has for its backward pass, much of which
has no place in ONNX. So the few operations that the time goes into are written out in ONNX's own
words, both ways: products read the weights as they lie in the checkpoint, over all rows at once,
and nothing large is kept that can be computed again cheaply.

Letters: B batch, N tokens, D width, h heads, R rows.
"""

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from reefl_export.onnx.step.gate import gated
from reefl_export.onnx.step.symbolic import gemm, matmul, operator, operators
from reefl_export.segments import Forms


class _Linear(torch.autograd.Function):
    """A linear layer on rows (R, in), by a weight (out, in)."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(rows, weight)
        ctx.has_bias = bias is not None
        return gemm(rows, weight, bias, transpose_right=True)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        rows, weight = ctx.saved_tensors
        return (
            gemm(gradient, weight),
            gemm(gradient, rows, transpose_left=True),
            gradient.sum(0) if ctx.has_bias else None,
        )


def _linear(rows: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Apply a linear layer to rows (..., D)."""
    flat: Tensor = _Linear.apply(rows.reshape(-1, rows.shape[-1]), weight, bias)  # type: ignore[no-untyped-call]
    return flat.reshape(*rows.shape[:-1], weight.shape[0])


class _LayerNorm(torch.autograd.Function):
    """Layer norm over the last axis, (..., D)."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
        moments = [*rows.shape[:-1], 1]
        normed, mean, inverse_deviation = operators(
            "LayerNormalization",
            (rows, weight, bias),
            [list(rows.shape), moments, moments],
            axis=-1,
            epsilon=eps,
        )
        ctx.save_for_backward(rows, weight, mean, inverse_deviation)
        return normed

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        rows, weight, mean, inverse_deviation = ctx.saved_tensors
        centred = (rows - mean) * inverse_deviation
        inner = gradient * weight
        along = (inner * centred).mean(-1, keepdim=True)
        of_rows = (inner - inner.mean(-1, keepdim=True) - centred * along) * inverse_deviation
        axes = tuple(range(rows.dim() - 1))
        return of_rows, (gradient * centred).sum(axes), gradient.sum(axes), None


def _layer_norm(
    rows: Tensor, shape: tuple[int, ...], weight: Tensor, bias: Tensor, eps: float
) -> Tensor:
    assert len(shape) == 1
    normed: Tensor = _LayerNorm.apply(rows, weight, bias, eps)  # type: ignore[no-untyped-call]
    return normed


class _Gelu(torch.autograd.Function):
    """GELU, exactly."""

    @staticmethod
    def forward(ctx: Any, features: Tensor) -> Tensor:
        ctx.save_for_backward(features)
        return operator("Gelu", (features,), list(features.shape))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (features,) = ctx.saved_tensors
        # With u = x / sqrt 2: (1 + erf u + 2 u exp(-u^2) / sqrt pi) / 2.
        scaled = features * math.sqrt(0.5)
        bell = torch.exp(math.log(2 / math.sqrt(math.pi)) - scaled * scaled)
        slope: Tensor = (torch.erf(scaled) + scaled * bell + 1) * (gradient * 0.5)
        return slope


def _gelu(features: Tensor) -> Tensor:
    activated: Tensor = _Gelu.apply(features)  # type: ignore[no-untyped-call]
    return activated


class _Attention(torch.autograd.Function):
    """Attention from query (B, h, N, d) to key and value, all heads of all images in one product.

    What each token attends to, (B, h, N, N), is computed again for the backward pass.
    """

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, factor: float) -> Tensor:
        ctx.save_for_backward(query, key, value)
        ctx.factor = factor
        return matmul(_attended(query, key, factor), value)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value = ctx.saved_tensors
        query_again, key_again = gated(query, after=gradient), key
        if key.shape == query.shape:  # a cache has another length in every part
            # Else the keys would be kept in two orders.
            key_again = gated(key, after=gradient)
        shares = _attended(query_again, key_again, ctx.factor)
        of_shares = matmul(gradient, value.transpose(2, 3))
        weighted = of_shares * shares
        of_scores = weighted - shares * weighted.sum(-1, keepdim=True)
        return (
            matmul(of_scores, key) * ctx.factor,
            matmul(of_scores.transpose(2, 3), query) * ctx.factor,
            matmul(shares.transpose(2, 3), gradient),
            None,
        )


def _attended(query: Tensor, key: Tensor, factor: float) -> Tensor:
    scores = matmul(query, key.transpose(2, 3)) * factor
    return operator("Softmax", (scores,), list(scores.shape), axis=-1)


def _attention(query: Tensor, key: Tensor, value: Tensor, *, scale: float | None = None) -> Tensor:
    factor = query.shape[-1] ** -0.5 if scale is None else scale
    attended: Tensor = _Attention.apply(query, key, value, factor)  # type: ignore[no-untyped-call]
    return attended


class _Joined(torch.autograd.Function):
    """Two arrays side by side along the second axis, whatever the length of the first."""

    @staticmethod
    def forward(ctx: Any, first: Tensor, second: Tensor) -> Tensor:
        ctx.length = second.shape[1]
        return torch.cat([first, second], 1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        return gradient[:, : -ctx.length], gradient[:, -ctx.length :]


def _cat(arrays: list[Tensor], dim: int = 0) -> Tensor:
    if dim != 1 or len(arrays) != 2:
        return torch.cat(arrays, dim)
    joined: Tensor = _Joined.apply(*arrays)  # type: ignore[no-untyped-call]
    return joined


def _patches(
    images: Tensor, weight: Tensor, bias: Tensor, stride: tuple[int, int], *_: Any
) -> Tensor:
    """Project patches that do not overlap, (B, 3, H, W) to (B, D, rows, columns)."""
    batch, channels, height, width = images.shape
    edge = weight.shape[-1]
    assert stride == (edge, edge)
    rows, columns = height // edge, width // edge
    patches = images.reshape(batch, channels, rows, edge, columns, edge)
    flat = patches.permute(0, 2, 4, 1, 3, 5).reshape(batch, rows * columns, -1)
    projected = _linear(flat, weight.reshape(len(weight), -1), bias)
    return projected.transpose(1, 2).reshape(batch, -1, rows, columns)


FORMS: Forms = {
    functional.linear: _linear,
    functional.layer_norm: _layer_norm,
    functional.gelu: _gelu,
    functional.scaled_dot_product_attention: _attention,
    functional.conv2d: _patches,
    torch.conv2d: _patches,
    torch.cat: _cat,
}

"""What does each operator of a Core ML program compute?

One function per operator, whose arguments bear the names of the operator's inputs: an input or a
value that programs made here do not use is refused rather than guessed at. Arrays are float32, also
those of half precision; products, means and sums are taken in float32, as a device does at best,
and ``function`` rounds what comes out.

Source: Apple's MIL reference, the opsets up to iOS 18 (``coremltools.converters.mil.mil.ops``).
Letters: B batch, N tokens, D features in, F features out, C channels in, O channels out.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from reefl_export.coreml.mil import compressed

Operator = Callable[..., Tensor | tuple[Tensor, ...]]


class UnsupportedError(Exception):
    """An operator is used in a way that programs made here do not use it."""


def _only(**used: tuple[Tensor | str, object]) -> None:
    """Refuse arguments that are not the one value known: ``name=(value, known)``."""
    for name, (value, known) in used.items():
        plain = value if isinstance(value, str) else value.tolist()
        if plain != known:
            raise UnsupportedError(f"{name} {plain}")


def _add(x: Tensor, y: Tensor) -> Tensor:
    return x + y


def _mul(x: Tensor, y: Tensor) -> Tensor:
    return x * y


def _relu(x: Tensor) -> Tensor:
    return functional.relu(x)


def _gelu(x: Tensor, mode: str) -> Tensor:
    _only(mode=(mode, "EXACT"))
    return functional.gelu(x)


def _softmax(x: Tensor, axis: Tensor) -> Tensor:
    return x.softmax(int(axis))


def _layer_norm(x: Tensor, axes: Tensor, gamma: Tensor, beta: Tensor, epsilon: Tensor) -> Tensor:
    _only(axes=(axes, [-1]))
    return functional.layer_norm(x, x.shape[-1:], gamma, beta, float(epsilon))


def _linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Map (..., D) by a weight (F, D)."""
    return functional.linear(x, weight, bias)


def _matmul(x: Tensor, y: Tensor, transpose_x: Tensor, transpose_y: Tensor) -> Tensor:
    return (x.mT if transpose_x else x) @ (y.mT if transpose_y else y)


def _scaled_dot_product_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return functional.scaled_dot_product_attention(query, key, value)


def _conv(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    strides: Tensor,
    pad_type: str,
    dilations: Tensor,
    groups: Tensor,
    pad: Tensor | None = None,
) -> Tensor:
    """Convolve (B, C, height, width) with (O, C, height, width); ``valid`` ignores ``pad``."""
    _only(pad_type=(pad_type, "valid"), dilations=(dilations, [1, 1]), groups=(groups, 1))
    del pad
    return functional.conv2d(x, weight, bias, stride=strides.tolist())


def _concat(values: tuple[Tensor, ...], axis: Tensor, interleave: Tensor) -> Tensor:
    _only(interleave=(interleave, False))
    return torch.cat(values, int(axis))


def _split(x: Tensor, split_sizes: Tensor, axis: Tensor) -> tuple[Tensor, ...]:
    return torch.split_with_sizes(x, split_sizes.tolist(), int(axis))


def _slice_by_index(
    x: Tensor,
    begin: Tensor,
    end: Tensor,
    begin_mask: Tensor | None = None,
    end_mask: Tensor | None = None,
    squeeze_mask: Tensor | None = None,
) -> Tensor:
    none = torch.zeros(x.ndim, dtype=torch.bool)
    from_start = none if begin_mask is None else begin_mask
    to_end = none if end_mask is None else end_mask
    squeezed = none if squeeze_mask is None else squeeze_mask
    picked = tuple(
        int(begin[axis])
        if squeezed[axis]
        else slice(
            None if from_start[axis] else int(begin[axis]), None if to_end[axis] else int(end[axis])
        )
        for axis in range(x.ndim)
    )
    return x[picked]


def _reshape(x: Tensor, shape: Tensor) -> Tensor:
    return x.reshape(shape.tolist())


def _transpose(x: Tensor, perm: Tensor) -> Tensor:
    return x.permute(perm.tolist())


def _cast(x: Tensor, dtype: str) -> Tensor:
    """Leave the values: what a result holds is its type's to say."""
    if dtype not in ("fp16", "fp32"):
        raise UnsupportedError(f"dtype {dtype}")
    return x


# Every operator of the ML programs made here but ``const``, named as in Apple's MIL reference.
OPERATORS: dict[str, Operator] = {
    "add": _add,
    "cast": _cast,
    "concat": _concat,
    "constexpr_blockwise_shift_scale": compressed.blockwise_shift_scale,
    "constexpr_lut_to_dense": compressed.lut_to_dense,
    "conv": _conv,
    "gelu": _gelu,
    "layer_norm": _layer_norm,
    "linear": _linear,
    "matmul": _matmul,
    "mul": _mul,
    "relu": _relu,
    "reshape": _reshape,
    "scaled_dot_product_attention": _scaled_dot_product_attention,
    "slice_by_index": _slice_by_index,
    "softmax": _softmax,
    "split": _split,
    "transpose": _transpose,
}

# Those that give numbers they were given, elsewhere.
MOVING = frozenset({"concat", "reshape", "slice_by_index", "split", "transpose"})

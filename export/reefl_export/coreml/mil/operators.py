"""What does each operator of a Core ML program compute?

One function per operator, whose arguments bear the names of the operator's inputs: an input or a
value that programs made here do not use is refused rather than guessed at. Arrays are float32, also
those of half precision; products, means and sums are taken in float32, as a device does at best,
and ``function`` rounds what comes out.

Source: Apple's MIL reference, the opsets up to iOS 18 (``coremltools.converters.mil.mil.ops``).
Letters: B batch, N tokens, D features in, F features out, C channels in, O channels out.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from reefl_export.coreml.mil import compressed

Array = NDArray[Any]
Floats = NDArray[np.float32]
Operator = Callable[..., Array | tuple[Array, ...]]


class UnsupportedError(Exception):
    """An operator is used in a way that programs made here do not use it."""


def _only(**used: tuple[Any, Any]) -> None:
    """Refuse arguments that are not the one value known: ``name=(value, known)``."""
    for name, (value, known) in used.items():
        if not np.array_equal(value, known):
            raise UnsupportedError(f"{name} {value}")


def _add(x: Floats, y: Floats) -> Floats:
    return x + y


def _mul(x: Floats, y: Floats) -> Floats:
    return x * y


def _relu(x: Floats) -> Floats:
    return np.maximum(x, np.float32(0))


def _gelu(x: Floats, mode: str) -> Floats:
    _only(mode=(mode, "EXACT"))
    import torch  # numpy has no error function

    error_function: Floats = torch.special.erf(torch.from_numpy(x * np.float32(0.5**0.5))).numpy()
    return np.float32(0.5) * x * (error_function + 1)


def _softmax(x: Floats, axis: Array) -> Floats:
    exponentials: Floats = np.exp(x - x.max(axis=int(axis), keepdims=True))
    total: Floats = exponentials.sum(axis=int(axis), keepdims=True)
    return exponentials / total


def _layer_norm(x: Floats, axes: Array, gamma: Floats, beta: Floats, epsilon: Floats) -> Floats:
    _only(axes=(axes, [-1]))
    centred: Floats = x - x.mean(axis=-1, keepdims=True)
    variance: Floats = np.square(centred).mean(axis=-1, keepdims=True)
    normalised: Floats = centred / np.sqrt(variance + epsilon)
    return normalised * gamma + beta


def _linear(x: Floats, weight: Floats, bias: Floats) -> Floats:
    """Map (..., D) by a weight (F, D)."""
    return x @ weight.T + bias


def _matmul(x: Floats, y: Floats, transpose_x: Array, transpose_y: Array) -> Floats:
    x = x.swapaxes(-1, -2) if transpose_x else x
    return x @ (y.swapaxes(-1, -2) if transpose_y else y)


def _scaled_dot_product_attention(query: Floats, key: Floats, value: Floats) -> Floats:
    scores = query @ key.swapaxes(-1, -2) / np.float32(query.shape[-1] ** 0.5)
    return _softmax(scores, np.array(-1)) @ value


def _conv(
    x: Floats,
    weight: Floats,
    bias: Floats,
    strides: Array,
    pad_type: str,
    dilations: Array,
    groups: Array,
    pad: Array | None = None,
) -> Floats:
    """Convolve (B, C, height, width) with (O, C, height, width); ``valid`` ignores ``pad``."""
    _only(pad_type=(pad_type, "valid"), dilations=(dilations, [1, 1]), groups=(groups, 1))
    del pad
    windows = sliding_window_view(x, weight.shape[2:], axis=(2, 3))
    windows = windows[:, :, :: strides[0], :: strides[1]].transpose(0, 2, 3, 1, 4, 5)
    rows = windows.reshape(*windows.shape[:3], -1)  # (B, height, width, C * window)
    return (rows @ weight.reshape(len(weight), -1).T + bias).transpose(0, 3, 1, 2)


def _concat(values: tuple[Floats, ...], axis: Array, interleave: Array) -> Floats:
    _only(interleave=(interleave, False))
    return np.concatenate(values, axis=int(axis))


def _split(x: Floats, split_sizes: Array, axis: Array) -> tuple[Floats, ...]:
    return tuple(np.split(x, np.cumsum(split_sizes)[:-1], axis=int(axis)))


def _slice_by_index(
    x: Floats,
    begin: Array,
    end: Array,
    begin_mask: Array | None = None,
    end_mask: Array | None = None,
    squeeze_mask: Array | None = None,
) -> Floats:
    none = np.zeros(x.ndim, np.bool_)
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
    taken: Floats = x[picked]
    return taken


def _reshape(x: Floats, shape: Array) -> Floats:
    return x.reshape(shape)


def _transpose(x: Floats, perm: Array) -> Floats:
    return x.transpose(perm)


def _cast(x: Floats, dtype: str) -> Floats:
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

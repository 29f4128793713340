"""How is a training step written in the operations that XNNPACK takes?

XNNPACK takes products, permutations, slices and element-wise operations in float32; what else a
traced step holds is written in these, operator by operator, so that the whole step becomes
delegated subgraphs, as few as ``exporter.py`` says: hardly anything leaves XNNPACK's memory.

* A sum is a product with ones, for XNNPACK sums up nothing.
* Booleans and indices are numbers: 1 and 0, and an index as float32.
* What a norm hands to its own backward pass is what that pass reads: the normed rows.

Letters: D width, E exits.
"""

import functools
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

aten = torch.ops.aten

# What turns any difference between two losses into one or more.
_HUGE = 1e38
# Added to what is divided by itself: changes nothing but zero.
_TINY = 1e-30


def _sum_last(rows: Tensor) -> Tensor:
    """Sum rows (..., D) to (..., 1)."""
    return torch.matmul(rows, torch.ones(rows.shape[-1], 1))


def _mean_last(rows: Tensor) -> Tensor:
    width = rows.shape[-1]
    return torch.matmul(rows, torch.full((width, 1), 1 / width))


def _sum(array: Tensor) -> Tensor:
    return _sum_last(array.reshape(1, -1)).reshape(())


def _sum_over(
    array: Tensor, dims: Sequence[int] | None, keepdim: bool = False, **_: object
) -> Tensor:
    """Sum over some axes: the others go first, and these become one."""
    summed = sorted(dim % array.dim() for dim in dims or range(array.dim()))
    kept = [dim for dim in range(array.dim()) if dim not in summed]
    shape = [1 if dim in summed else size for dim, size in enumerate(array.shape)]
    if not keepdim:
        shape = [array.shape[dim] for dim in kept]
    num_kept = math.prod(array.shape[dim] for dim in kept)
    rows = _in_order(array.permute(kept + summed)).reshape(num_kept, -1)
    return _sum_last(rows).reshape(shape)


def _in_order(array: Tensor) -> Tensor:
    """Return an array in plain order, as every operator of ExecuTorch gives it."""
    return array.contiguous()


def _layer_norm(
    rows: Tensor, _shape: Sequence[int], weight: Tensor, bias: Tensor, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the norm of rows (..., D); the normed rows; their factor, (..., 1)."""
    centred = rows - _mean_last(rows)
    factor = torch.rsqrt(_mean_last(centred * centred) + eps)
    normed = centred * factor
    return normed * weight + bias, normed, factor


def _layer_norm_backward(
    gradient: Tensor,
    rows: Tensor,
    _shape: Sequence[int],
    normed: Tensor,
    factor: Tensor,
    weight: Tensor,
    _bias: Tensor,
    wanted: Sequence[bool],
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    outer = list(range(rows.dim() - 1))
    of_rows = of_weight = of_bias = None
    if wanted[0]:
        scaled = gradient * weight
        along = normed * _mean_last(scaled * normed)
        of_rows = (scaled - _mean_last(scaled) - along) * factor
    if wanted[1]:
        of_weight = _sum_over(gradient * normed, outer)
    if wanted[2]:
        of_bias = _sum_over(gradient, outer)
    return of_rows, of_weight, of_bias


def _gelu_backward(gradient: Tensor, rows: Tensor, **_: object) -> Tensor:
    """Multiply by the derivative of x * P(x), which is P(x) + x * p(x); p(x) is P's own."""
    rows = rows + _TINY
    probability = functional.gelu(rows) / rows
    density = torch.exp(rows * rows * -0.5) * (1 / math.sqrt(2 * math.pi))
    return gradient * (probability + rows * density)


def _log_softmax(logits: Tensor, *_: object) -> Tensor:
    """Subtract the logarithm of the sum of exponentials, which is x - log p(x) for every x.

    Weighed by p(x), a probability too small to have a logarithm does not count.
    """
    probs = logits.softmax(-1)
    surprise = torch.log(torch.maximum(probs, torch.full((1,), _TINY)))
    return logits - _sum_last(probs * (logits - surprise))


def _log_softmax_backward(gradient: Tensor, log_probs: Tensor, *_: object) -> Tensor:
    return gradient - torch.exp(log_probs) * _sum_last(gradient)


def _is_positive(array: Tensor) -> Tensor:
    """Return 1 where a number that is not negative is above zero, else 0."""
    return torch.clamp(array * _HUGE, 0, 1)


def _threshold_backward(gradient: Tensor, output: Tensor, *_: object) -> Tensor:
    return gradient * _is_positive(output)


def _first_lowest(values: Tensor) -> Tensor:
    """Return the index of the lowest of values (E,), the first of equals, as float32, 0-d."""
    num_values = len(values)
    lowest = functools.reduce(
        torch.minimum, (values[index : index + 1] for index in range(num_values))
    )
    is_lowest = 1.0 - _is_positive(values - lowest).reshape(1, -1)
    earlier = torch.matmul(is_lowest, torch.ones(num_values, num_values).triu(1))
    is_first = is_lowest * (1.0 - _is_positive(earlier))
    return torch.matmul(is_first, torch.arange(float(num_values))[:, None]).reshape(())


def _argmin(values: Tensor) -> Tensor:
    return _first_lowest(values)


def _argmax(values: Tensor) -> Tensor:
    return _first_lowest(-values)


def _equal(left: Tensor, right: Tensor) -> Tensor:
    if not (left.is_floating_point() or right.is_floating_point()):
        return torch.eq(left, right).float()
    return 1.0 - _is_positive(torch.abs(left.float() - right))


def _where(condition: Tensor, chosen: Tensor, other: Tensor) -> Tensor:
    condition = condition.float()
    return condition * chosen + (1.0 - condition) * other


def _cast(array: Tensor, *, dtype: Any = None, **_: object) -> Tensor:
    return array if array.dtype == dtype else array.to(dtype)


def _expand(array: Tensor, sizes: Sequence[int], **_: object) -> Tensor:
    """Repeat along some axes, by multiplying."""
    array = array.reshape([1] * (len(sizes) - array.dim()) + list(array.shape))
    shape = [have if size == -1 else size for have, size in zip(array.shape, sizes, strict=True)]
    return array if list(array.shape) == shape else array * torch.ones(shape)


def _select(array: Tensor, dim: int, index: int) -> Tensor:
    dim, index = dim % array.dim(), index % array.shape[dim]
    part = array.narrow(dim, index, 1)
    return _in_order(part).reshape([size for axis, size in enumerate(array.shape) if axis != dim])


def _padded(part: Tensor, dim: int, before: int, size: int) -> Tensor:
    """Lay a part of an array (..., size, ...) among zeros."""
    if part.shape[dim] == size:
        return part
    pads = [0] * (2 * part.dim())
    behind = size - before - part.shape[dim]
    pads[2 * (part.dim() - 1 - dim) : 2 * (part.dim() - dim)] = [before, behind]
    padded: Tensor = aten.constant_pad_nd(part, pads, 0.0)
    return padded


def _select_backward(gradient: Tensor, sizes: Sequence[int], dim: int, index: int) -> Tensor:
    dim = dim % len(sizes)
    shape = [1 if axis == dim else size for axis, size in enumerate(sizes)]
    return _padded(gradient.reshape(shape), dim, index % sizes[dim], sizes[dim])


def _slice_backward(
    gradient: Tensor, sizes: Sequence[int], dim: int, start: int, *_: object
) -> Tensor:
    dim = dim % len(sizes)
    return _padded(gradient, dim, start % sizes[dim] if start else 0, sizes[dim])


def _slice(array: Tensor, dim: int = 0, start: int | None = None, end: int | None = None) -> Tensor:
    size = array.shape[dim]
    first, last, _ = slice(start, end).indices(size)
    return (
        array if (first, last) == (0, size) else _in_order(array.narrow(dim, first, last - first))
    )


def _split(array: Tensor, size: int | Sequence[int], dim: int = 0) -> list[Tensor]:
    dim = dim % array.dim()
    length = array.shape[dim]
    sizes = [size] * (length // size) if isinstance(size, int) else size
    starts = [0, *itertools.accumulate(sizes)]
    return [_slice(array, dim, *ends) for ends in itertools.pairwise(starts)]


def _cat(arrays: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Put arrays side by side; XNNPACK takes two or more, and one stays as it is."""
    return arrays[0] if len(arrays) == 1 else torch.cat(list(arrays), dim)


def _stack(arrays: Sequence[Tensor], dim: int = 0) -> Tensor:
    return _cat([_unsqueeze(array, dim) for array in arrays], dim)


def _unsqueeze(array: Tensor, dim: int) -> Tensor:
    shape = list(array.shape)
    shape.insert(dim % (array.dim() + 1), 1)
    return array.reshape(shape)


def _transpose(array: Tensor, first: int, second: int) -> Tensor:
    return _in_order(array.transpose(first, second))


def _permute(array: Tensor, dims: Sequence[int]) -> Tensor:
    return _in_order(array.permute(list(dims)))


def _as_it_is(array: Tensor, **_: object) -> Tensor:
    return array


# The arguments of every form are those of its operator.
FORMS: dict[Any, Callable[..., Any]] = {
    aten._log_softmax.default: _log_softmax,
    aten._log_softmax_backward_data.default: _log_softmax_backward,
    aten._to_copy.default: _cast,
    aten._unsafe_view.default: torch.reshape,
    aten.argmax.default: _argmax,
    aten.argmin.default: _argmin,
    aten.bitwise_and.Tensor: torch.mul,
    aten.bitwise_not.default: lambda array: 1.0 - array,
    aten.cat.default: _cat,
    aten.clone.default: _as_it_is,
    aten.detach.default: _as_it_is,
    aten.eq.Tensor: _equal,
    aten.expand.default: _expand,
    aten.gelu_backward.default: _gelu_backward,
    aten.lift_fresh_copy.default: _as_it_is,
    aten.native_layer_norm.default: _layer_norm,
    aten.native_layer_norm_backward.default: _layer_norm_backward,
    aten.ones_like.default: lambda array, **_: torch.ones(array.shape),
    aten.permute.default: _permute,
    aten.select.int: _select,
    aten.select_backward.default: _select_backward,
    aten.slice.Tensor: _slice,
    aten.slice_backward.default: _slice_backward,
    aten.split.Tensor: _split,
    aten.split_with_sizes.default: _split,
    aten.stack.default: _stack,
    aten.sum.default: _sum,
    aten.sum.dim_IntList: _sum_over,
    aten.t.default: lambda matrix: _transpose(matrix, 0, 1),
    aten.threshold_backward.default: _threshold_backward,
    aten.transpose.int: _transpose,
    aten.unsqueeze.default: _unsqueeze,
    aten.view.default: torch.reshape,
    aten.where.self: _where,
}

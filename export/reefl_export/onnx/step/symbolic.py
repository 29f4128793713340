"""How is an operator of ONNX written into a trace?

It has a shape and no numbers: only what the trace becomes can be run.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

_Attribute = (
    int | float | str | bool | Sequence[int] | Sequence[float] | Sequence[str] | Sequence[bool]
)


def operator(
    name: str, inputs: Sequence[Tensor | None], shape: list[int], **attributes: _Attribute
) -> Tensor:
    """Write an operator that gives one float32 array."""
    result: Tensor = torch.onnx.ops.symbolic(
        name, tuple(inputs), attributes, dtype=torch.float32, shape=shape
    )
    return result


def operators(
    name: str, inputs: Sequence[Tensor], shapes: list[list[int]], **attributes: _Attribute
) -> Sequence[Tensor]:
    """Write an operator that gives several float32 arrays."""
    return torch.onnx.ops.symbolic_multi_out(
        name, tuple(inputs), attributes, dtypes=[torch.float32] * len(shapes), shapes=shapes
    )


def matmul(left: Tensor, right: Tensor) -> Tensor:
    """Multiply the last two axes; those before are the same."""
    return operator("MatMul", (left, right), [*left.shape[:-1], right.shape[-1]])


def gemm(
    left: Tensor,
    right: Tensor,
    bias: Tensor | None = None,
    *,
    transpose_left: bool = False,
    transpose_right: bool = False,
) -> Tensor:
    """Multiply two matrices, transposed as they are read, and add a row to every row."""
    shape = [left.shape[1 if transpose_left else 0], right.shape[0 if transpose_right else 1]]
    inputs = (left, right) if bias is None else (left, right, bias)
    attributes = {"transA": int(transpose_left), "transB": int(transpose_right)}
    return operator("Gemm", inputs, shape, **attributes)

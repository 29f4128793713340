"""How does a float32 program hold its matrices narrower: as 8-bit integers, as palette indices?

Matrices are the weights of linear layers and of the patch embedding. They are widened again when
the package is loaded, or as they are used.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reefl_export.coreml.palettes import PALETTE_SIZE, palettize
from reefl_export.coreml.program import Program, operation, operations_of, stored

# Outputs that share a palette. A palette for a whole matrix loses several times as much, and this
# many take 0.25 bit a weight or less where a layer has 128 inputs or more.
PALETTE_CHANNELS = 16

_MAX_WEIGHT = 127


Parts = dict[str, tuple[str, NDArray[Any]]]


@dataclass(frozen=True, slots=True)
class Narrowed:
    """What a matrix is made of.

    Attributes:
        operator: What makes it.
        parts: What that takes, by name: the type in MIL.proto, and the array.
    """

    operator: str
    parts: Parts


def narrow(program: Program, how: Callable[[NDArray[np.float32]], Narrowed | None]) -> None:
    """Let a float32 program make its matrices of narrower arrays.

    Args:
        program: The program.
        how: ``quantised`` or ``palettized``; None leaves a matrix as it is.
    """
    makers: dict[int, Callable[[Any], Any] | None] = {}
    for function in program.functions():
        for matrix in _matrices(function):
            number = matrix.attributes["val"].blobFileValue.offset
            if number not in makers:  # functions share matrices
                narrowed = how(program.arrays[number])
                makers[number] = None if narrowed is None else _maker(program, narrowed)
            make = makers[number]
            if make is not None:
                matrix.CopyFrom(make(matrix.outputs[0]))


def _maker(program: Program, narrowed: Narrowed) -> Callable[[Any], Any]:
    """Take what a matrix is made of into a program; return what gives the operation."""
    inputs = {
        name: stored(program.add(array), data_type, array.shape)
        for name, (data_type, array) in narrowed.parts.items()
    }
    return partial(operation, narrowed.operator, **inputs)


def _matrices(function: Any) -> Iterator[Any]:
    """Give the constants of a function that are matrices."""
    operations = operations_of(function)
    names = {
        each.inputs["weight"].arguments[0].name
        for each in operations
        if each.type in ("conv", "linear")
    }
    return (each for each in operations if each.type == "const" and each.outputs[0].name in names)


def quantised(matrix: NDArray[np.float32]) -> Narrowed:
    """Round a matrix (F, ...) to int8, with a scale for each output."""
    largest = np.abs(matrix).reshape(len(matrix), -1).max(axis=1)
    # Half precision, as the program holds it.
    scale = (largest / _MAX_WEIGHT).astype(np.float16).astype(np.float32)
    scale = np.where(scale > 0, scale, 1).reshape(-1, *[1] * (matrix.ndim - 1))
    data = np.rint(matrix / scale).clip(-_MAX_WEIGHT, _MAX_WEIGHT).astype(np.int8)
    parts: Parts = {"data": ("INT8", data), "scale": ("FLOAT32", scale)}
    return Narrowed("constexpr_blockwise_shift_scale", parts)


def palettized(matrix: NDArray[np.float32]) -> Narrowed | None:
    """Find palettes of 16 numbers for a matrix (F, ...); None if its outputs make no groups."""
    num_palettes, left = divmod(len(matrix), PALETTE_CHANNELS)
    if left:
        return None
    palettes, indices = palettize(matrix.reshape(num_palettes, -1))
    grid = num_palettes, *[1] * (matrix.ndim - 1)
    parts: Parts = {
        "indices": ("UINT4", indices.reshape(matrix.shape)),
        "lut": ("FLOAT32", palettes.reshape(*grid, PALETTE_SIZE, 1)),
    }
    return Narrowed("constexpr_lut_to_dense", parts)

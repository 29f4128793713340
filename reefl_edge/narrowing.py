"""How do float32 arrays become those of a narrower precision?

The one definition of these numbers: exporters make artifacts with it, and whoever puts other arrays
into an exported artifact has no toolchain. numpy alone.

Weights in 8 bits are symmetric, one scale per output channel; activations uint8 with a zero point,
one scale per tensor. Without VNNI, onnxruntime multiplies with an x86 instruction that adds two
neighbouring products in 16 bits and saturates. Neighbouring weights are therefore rounded so that
they sum to no more than 128: 255 * 128 fits, and every CPU gives the same sums. That costs a
fraction of the bit that a narrower range of all weights would; unsigned weights, which do not
saturate, have no fast kernel.
"""

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

# How the parts of a quantised weight are called, behind the name of the array.
INT8_SUFFIX, SCALE_SUFFIX = "_int8", "_scale"

_MAX_WEIGHT = 127
_MAX_PAIR = 128


def halved(array: NDArray[np.float32]) -> NDArray[np.float16]:
    """Round an array to half precision."""
    return array.astype(np.float16)


def quantised(weight: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Round a weight (out, in) to int8.

    Returns:
        The weight (in, out) and the scale of each output, (out,).
    """
    pairs = np.abs(weight[:, :-1] + weight[:, 1:]).max(axis=1, initial=0)
    # Half a step each for the rounding of the two.
    largest = np.maximum(np.abs(weight).max(axis=1) / _MAX_WEIGHT, pairs / (_MAX_PAIR - 1))
    scale = np.where(largest > 0, largest, 1).astype(np.float32)
    rounded = np.rint(weight / scale[:, None]).astype(np.int8)
    return np.ascontiguousarray(rounded.T), scale


def input_point(low: float, high: float) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Return the scale and the zero point, (), of activations between two values, as uint8."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = np.float32((high - low) / 255 or 1)
    return np.array(scale), np.array(np.rint(-low / scale), np.uint8)


def input_point_names(layer: str) -> tuple[str, str]:
    """Return how a layer's graph calls the scale and the zero point of its input."""
    return f"{layer}.input_scale", f"{layer}.input_zero_point"


def origin_of(name: str, known: Collection[str]) -> str | None:
    """Return the array that a stored one is, or was made from; None if it is of no weight.

    >>> origin_of("classifier.linear.weight_int8", {"classifier.linear.weight"})
    'classifier.linear.weight'
    """
    if name in known:
        return name
    origin = name.removesuffix(INT8_SUFFIX).removesuffix(SCALE_SUFFIX)
    return origin if origin in known else None

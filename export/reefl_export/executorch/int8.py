"""Which linear layers compute in 8 bits under XNNPACK, and how are their values rounded?

Weights: one scale per output, symmetric. What stands between linear layers (norms, products of
attention) stays in float32. Activations:

* *dynamic*: a scale and a zero point for every row (token), found at run time.
* *static*: one for the whole array, found on typical images. XNNPACK then rounds what a layer
  gives, too; so what is added to the residual stream, where a few values are far larger than the
  others, and the logits are left to dynamic layers.
"""

from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torchao.quantization.pt2e import HistogramObserver

from reefl_edge.models.preprocess import normalise
from reefl_edge.models.reefl import ReeFL
from reefl_export.executorch.xnnpack import for_batches

# As written for XNNPACK, query, key and value are layers of their own.
_PARTS_OF_QKV = ("query", "key", "value")
_STATIC = ("blocks.*.attn.qkv", "blocks.*.mlp.fc1")

_CALIBRATION_BATCH = 8
LEAST, LARGEST = -128, 127


class Rounding(NamedTuple):
    """How real numbers become integers: ``round(number / scale) + zero_point``."""

    scale: float
    zero_point: int


# What a layer takes and what it gives, by its name.
Roundings = dict[str, tuple[Rounding, Rounding]]


@torch.no_grad()
def calibrate(written: ReeFL, images: NDArray[np.uint8]) -> Roundings:
    """Find how the static layers round what they take and what they give.

    Args:
        written: The network, written for XNNPACK; it stays as it is.
        images: Typical images, (N, H, W, 3).
    """
    sizes = range(min(_CALIBRATION_BATCH, len(images)), 0, -1)
    size = next(size for size in sizes if len(images) % size == 0)
    network = for_batches(written, size)
    observers = {
        name: (_observer(), _observer())
        for name, _ in network.named_modules()
        if matches(array_name(name), _STATIC)
    }
    for name, pair in observers.items():
        network.get_submodule(name).register_forward_hook(_hook(*pair))
    architecture = network.submodel.architecture
    for start in range(0, len(images), size):
        pixels = torch.from_numpy(images[start : start + size])
        network(normalise(pixels, architecture.mean, architecture.std))
    return {
        name: (_rounding(taken), _rounding(given)) for name, (taken, given) in observers.items()
    }


def _observer() -> HistogramObserver:
    return HistogramObserver(
        dtype=torch.int8,
        qscheme=torch.per_tensor_affine,
        quant_min=LEAST,
        quant_max=LARGEST,
        bins=1024,
    )


def _hook(taken: HistogramObserver, given: HistogramObserver) -> Callable[..., None]:
    def observe(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        taken(inputs[0])
        given(output)

    return observe


def _rounding(observer: HistogramObserver) -> Rounding:
    scale, zero_point = observer.calculate_qparams()
    return Rounding(float(scale), int(zero_point))


def array_name(name: str) -> str:
    """Return how the arrays of a layer written for XNNPACK are called in a checkpoint."""
    *path, last = name.split(".")
    return ".".join([*path, "qkv" if last in _PARTS_OF_QKV else last])


def matches(name: str, patterns: Sequence[str]) -> bool:
    """Return whether one of the patterns means a layer."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)

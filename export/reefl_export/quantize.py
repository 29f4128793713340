"""Which linear layers compute in 8 bits under XNNPACK, and how are their values rounded?

Weights: one scale per output, symmetric. Activations, dynamic: scale and zero point of every row
(token) anew. What stands between linear layers (norms, products of attention) stays in float32.
"""

from collections.abc import Sequence
from fnmatch import fnmatchcase

import torch
from torch import nn
from torchao.quantization import Int8DynamicActivationIntxWeightConfig, PerAxis, quantize_

from reefl_edge.models.reefl import ReeFL

# As written for XNNPACK, query, key and value are layers of their own.
_PARTS_OF_QKV = ("query", "key", "value")


def quantize_dynamic(network: ReeFL, keep_float: Sequence[str]) -> None:
    """Let the linear layers of a network written for XNNPACK compute in 8 bits, in place.

    Args:
        network: The network.
        keep_float: Patterns of the names of layers that do not.
    """
    config = Int8DynamicActivationIntxWeightConfig(
        weight_dtype=torch.int8, weight_granularity=PerAxis(0)
    )
    quantize_(
        network,
        config,
        filter_fn=lambda module, name: (
            isinstance(module, nn.Linear) and not is_kept(array_name(name), keep_float)
        ),
    )


def array_name(name: str) -> str:
    """Return how the arrays of a layer written for XNNPACK are called in a checkpoint."""
    *path, last = name.split(".")
    return ".".join([*path, "qkv" if last in _PARTS_OF_QKV else last])


def is_kept(name: str, patterns: Sequence[str]) -> bool:
    """Return whether one of the patterns means a layer."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)

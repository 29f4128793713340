"""How do adapters that are linear vanish in the weights beside them?

LoRA adds a product to the query and value parts of a fused projection; SSF multiplies and shifts
what a norm or a linear layer gives, which is what their own weight and bias do. Both *fold*: the
plain network with the folded arrays computes the same. Bottleneck adapters have a ReLU and do not.

numpy alone, so that an export served from the cache needs no torch; in float64 and without matrix
products, whose order of summation differs between machines: the hash of folded arrays must not.

Letters: D width, r rank.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from reefl_edge.regimes import LORA_SCALING, is_adapter
from reefl_edge.submodel import Submodel

Array = NDArray[np.float32]

# What stands before each SSF: the layer's name for the pair's, both within a block.
_SSF_LAYERS = {
    "norm1": "ssf_norm1",
    "attn.proj": "attn.ssf_proj",
    "norm2": "ssf_norm2",
    "mlp.fc1": "mlp.ssf_fc1",
    "mlp.fc2": "mlp.ssf_fc2",
}


def fold_arrays(arrays: Mapping[str, Array], submodel: Submodel) -> dict[str, Array]:
    """Return the arrays of ``submodel.folded()``.

    Args:
        arrays: Array by name, as ``submodel.arrays()`` lists them.
        submodel: What they are the arrays of.
    """
    if submodel.regime == "lora":
        return _plain(arrays) | _fold_lora(arrays, submodel.depth)
    if submodel.regime == "ssf":
        return _plain(arrays) | _fold_ssf(arrays, submodel.depth)
    return dict(arrays)


def _plain(arrays: Mapping[str, Array]) -> dict[str, Array]:
    return {name: array for name, array in arrays.items() if not is_adapter(name)}


def _fold_lora(arrays: Mapping[str, Array], depth: int) -> dict[str, Array]:
    """Add LoRA's products to the first and last third of every fused projection, (3D, D)."""
    folded = {}
    for block_index in range(depth):
        attention = f"blocks.{block_index}.attn"
        weight = arrays[f"{attention}.qkv.weight"].copy()
        query, _, value = np.split(weight, 3)  # views
        query[:] = query + _low_rank(arrays, f"{attention}.lora_q")
        value[:] = value + _low_rank(arrays, f"{attention}.lora_v")
        folded[f"{attention}.qkv.weight"] = weight
    return folded


def _low_rank(arrays: Mapping[str, Array], lora: str) -> NDArray[np.float64]:
    """Multiply b (D, r) by a (r, D), one rank after the other: einsum's own loop, unlike BLAS."""
    a, b = (arrays[f"{lora}.{factor}"].astype(np.float64) for factor in ("a", "b"))
    product: NDArray[np.float64] = np.einsum("or,ri->oi", b, a)
    product *= LORA_SCALING
    return product


def _fold_ssf(arrays: Mapping[str, Array], depth: int) -> dict[str, Array]:
    """Scale and shift the weight and bias before every pair."""
    folded = _scaled(arrays, "patch_embed.proj", ("patch_embed.ssf",))
    folded |= _scaled(arrays, "classifier.norm", ("classifier.ssf",))
    for block_index in range(depth):
        block = f"blocks.{block_index}"
        for layer, ssf in _SSF_LAYERS.items():
            folded |= _scaled(arrays, f"{block}.{layer}", (f"{block}.{ssf}",))
        parts = tuple(f"{block}.attn.ssf_{part}" for part in "qkv")
        folded |= _scaled(arrays, f"{block}.attn.qkv", parts)
    return folded


def _scaled(arrays: Mapping[str, Array], layer: str, pairs: tuple[str, ...]) -> dict[str, Array]:
    """Fold the pairs behind a norm or a linear layer, side by side, into its first axis."""
    weight, bias = (arrays[f"{layer}.{part}"].astype(np.float64) for part in ("weight", "bias"))
    scale, shift = (
        np.concatenate([arrays[f"{pair}.{part}"] for pair in pairs]).astype(np.float64)
        for part in ("scale", "shift")
    )
    weight *= scale.reshape(-1, *(1,) * (weight.ndim - 1))
    return {
        f"{layer}.weight": weight.astype(np.float32),
        f"{layer}.bias": (bias * scale + shift).astype(np.float32),
    }


def neutral_adapters(submodel: Submodel) -> dict[str, Array]:
    """Return adapters that change nothing, yet can be trained: what enters them is never zero."""
    generator = np.random.default_rng(0)
    return {
        spec.name: _neutral(spec.name, spec.shape, generator)
        for spec in submodel.arrays()
        if is_adapter(spec.name)
    }


def _neutral(name: str, shape: tuple[int, ...], generator: np.random.Generator) -> Array:
    if name.endswith(".scale"):
        return np.ones(shape, np.float32)
    if name.endswith((".a", ".down.weight")):  # the half that the zeros of b, or of up, follow
        bound = shape[-1] ** -0.5
        return generator.uniform(-bound, bound, shape).astype(np.float32)
    return np.zeros(shape, np.float32)

"""What is the state dict of the released ReeFL code?

All arrays of a sub-model: query, key and value apart, the accumulator's under the names of the
transformer it was made from, the classifier inside the accumulator. What such a file does not say:
how many exits there are, and whether its adapters are parallel or serial (their keys are the same).

Source: royson/reefl 61b18c1, keys and shapes read by building its model.
"""

from collections.abc import Collection, Mapping

from reefl_edge.checkpoints.foreign.layout import Layout, Part, stacked
from reefl_edge.regimes import Regime
from reefl_edge.submodel import ArraySpec

_ACCUMULATOR = "accumulator.transformer.layers.0"

# Modules, ours to theirs, outside the blocks.
_MODULES: Mapping[str, str] = {
    "accumulator.norm1": f"{_ACCUMULATOR}.0.fn.norm",
    "accumulator.qkv": f"{_ACCUMULATOR}.0.fn.fn.to_qkv",
    "accumulator.proj": f"{_ACCUMULATOR}.0.fn.fn.to_out.0",
    "accumulator.norm2": f"{_ACCUMULATOR}.1.fn.norm",
    "accumulator.mlp.fc1": f"{_ACCUMULATOR}.1.fn.fn.net.0",
    "accumulator.mlp.fc2": f"{_ACCUMULATOR}.1.fn.fn.net.3",
    "classifier.norm": "accumulator.head.layer_norm",
    "classifier.linear": "accumulator.head.mlp_head.0",
}
# Modules of a block that have another name there, or are several.
_BLOCK_MODULES: Mapping[str, tuple[str, ...]] = {
    "attn.qkv": ("attn.q", "attn.k", "attn.v"),
    "attn_adapter.down": ("attn.attn_adapter.down_proj",),
    "attn_adapter.up": ("attn.attn_adapter.up_proj",),
    "mlp_adapter.down": ("mlp.ffn_adapter.down_proj",),
    "mlp_adapter.up": ("mlp.ffn_adapter.up_proj",),
}
_LORA: Mapping[str, str] = {
    "attn.lora_q.a": "attn.q.ef_lora_A",
    "attn.lora_q.b": "attn.q.ef_lora_B",
    "attn.lora_v.a": "attn.v.ef_lora_A",
    "attn.lora_v.b": "attn.v.ef_lora_B",
}
# Where a scale and a shift stand: the module there, and how it numbers them.
_SSF: Mapping[str, tuple[str, str]] = {
    "patch_embed.ssf": ("patch_embed", "1"),
    "classifier.ssf": ("accumulator.head", "1"),
}
_BLOCK_SSF: Mapping[str, tuple[str, str]] = {
    "ssf_norm1": ("", "1"),
    "ssf_norm2": ("", "2"),
    "attn.ssf_q": ("attn.", "q"),
    "attn.ssf_k": ("attn.", "k"),
    "attn.ssf_v": ("attn.", "v"),
    "attn.ssf_proj": ("attn.", "1"),
    "mlp.ssf_fc1": ("mlp.", "1"),
    "mlp.ssf_fc2": ("mlp.", "2"),
}
# The regimes a file may be of, by a key that only their files hold.
_REGIMES: Mapping[str, tuple[Regime, ...]] = {
    "blocks.0.attn.q.ef_lora_A": ("lora",),
    "blocks.0.attn.attn_adapter.down_proj.weight": ("parallel-adapter", "serial-adapter"),
    "patch_embed.ssf_scale_1": ("ssf",),
}


def _parts(spec: ArraySpec) -> tuple[Part, ...]:
    match spec.name:
        case "accumulator.meta_token":
            return (Part("accumulator.client_token", (1, 1, *spec.shape)),)
        case "accumulator.depth_embedding":
            return (Part("accumulator.pos_embedding", (1, *spec.shape)),)
    if spec.name.startswith("blocks."):
        blocks, number, name = spec.name.split(".", 2)
        theirs = tuple(f"{blocks}.{number}.{there}" for there in _in_block(name))
        return stacked(theirs, spec.shape)
    module, _, kind = spec.name.rpartition(".")
    if module in _SSF:
        there, site = _SSF[module]
        return (Part(f"{there}.ssf_{kind}_{site}", spec.shape),)
    if module in _MODULES:
        return (Part(f"{_MODULES[module]}.{kind}", spec.shape),)
    return (Part(spec.name, spec.shape),)


def _in_block(name: str) -> tuple[str, ...]:
    """Return what an array of a block, such as ``attn.qkv.weight``, is called there."""
    if name in _LORA:
        return (_LORA[name],)
    module, _, kind = name.rpartition(".")
    if module in _BLOCK_SSF:
        there, site = _BLOCK_SSF[module]
        return (f"{there}ssf_{kind}_{site}",)
    return tuple(f"{there}.{kind}" for there in _BLOCK_MODULES.get(module, (module,)))


def possible_regimes(names: Collection[str]) -> tuple[Regime, ...]:
    """Return the regimes whose files hold these names, the likeliest first."""
    for mark, regimes in _REGIMES.items():
        if mark in names:
            return regimes
    return ("full", "frozen")


RELEASED = Layout(title="the released ReeFL code", parts=_parts, is_whole=True)

"""The released state dict: its key list, random ones, and a plain network that reads them.

The plain network is a hand-written reading of the released code (royson/reefl 61b18c1), as far from
our form as it can be: query, key and value apart, softmax written out, the accumulator's whole
sequence recomputed after every block, over class tokens that are overwritten in place.

Letters: B batch, N tokens, D width, l blocks so far.
"""

import re
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from reefl_edge.array_files.safetensors import Arrays
from reefl_edge.submodel import Regime, Shape

# The headings of released_keys.txt, whose keys stand beside those of the first.
HEADINGS: dict[str, str] = {
    "full": "full and frozen",
    "frozen": "full and frozen",
    "lora": "LoRA",
    "parallel-adapter": "parallel adapter",
    "serial-adapter": "serial adapter",
    "ssf": "SSF",
}
State = dict[str, Tensor]


def released_keys(regime: str, *, num_blocks: int) -> dict[str, Shape]:
    """Return name and shape of every array of DeiT-S with 100 classes, as the release has them.

    Origin: tests/foreign/released_keys.txt, read by building the released model.
    """
    text = (Path(__file__).parent / "released_keys.txt").read_text()
    sections = {
        title.split(":")[0]: body for title, body in re.findall(r"^## (.+)\n([^#]*)", text, re.M)
    }
    wanted = dict.fromkeys(("full and frozen", HEADINGS[regime]))
    lines = "".join(sections[title] for title in wanted)
    keys = {
        name: tuple(int(size) for size in sizes.split(",") if size.strip())
        for name, sizes in re.findall(r"^(\S+) \((.*)\)$", lines, re.M)
    }
    return {
        name.replace("blocks.0.", f"blocks.{block}."): shape
        for name, shape in keys.items()
        for block in (range(num_blocks) if name.startswith("blocks.") else (0,))
    }


def released_state(
    *,
    depth: int,
    regime: Regime = "full",
    num_blocks: int = 12,
    width: int = 16,
    num_patches: int = 4,
    patch_size: int = 8,
    num_classes: int = 3,
    seed: int = 0,
) -> Arrays:
    """Return a random state dict of a client, large enough numbers to tell mistakes apart."""
    rng = np.random.default_rng(seed)
    hidden = int(width * 1.35)
    sizes = {
        384: width,
        1536: 4 * width,
        518: hidden,
        100: num_classes,
        197: num_patches + 1,
        13: num_blocks + 1,
    }
    state: Arrays = {}
    for name, shape in released_keys(regime, num_blocks=depth).items():
        tiny = tuple(sizes.get(size, size) for size in shape)
        if name == "patch_embed.proj.weight":
            tiny = (width, 3, patch_size, patch_size)
        is_scale = ("norm" in name and name.endswith("weight")) or "ssf_scale" in name
        state[name] = (rng.normal(0, 0.3, tiny) + is_scale).astype(np.float32)
    return state


def plain_logits(
    arrays: Arrays,
    images: Tensor,
    *,
    exit_blocks: tuple[int, ...],
    num_heads: int,
    regime: Regime = "full",
) -> Tensor:
    """Compute the logits of every exit that the state dict reaches, (E, B, C).

    The arrays say which adapters there are, but not whether bottlenecks are parallel or serial.
    """
    state = {name: torch.from_numpy(array) for name, array in arrays.items()}
    depth = sum(name.endswith("norm1.weight") for name in state)
    weight, bias = state["patch_embed.proj.weight"], state["patch_embed.proj.bias"]
    patches = functional.conv2d(images, weight, bias, stride=weight.shape[-1])
    cls_token = state["cls_token"].expand(len(images), -1, -1)
    rows = _ssf(state, "patch_embed.", "1", patches.flatten(2).transpose(1, 2))
    tokens = torch.cat([cls_token, rows], 1) + state["pos_embed"]
    history: list[Tensor] = []
    logits = []
    for block in range(depth):
        tokens = _block(state, f"blocks.{block}", tokens, num_heads, regime)
        raw = tokens[:, 0].clone()
        history.append(tokens[:, 0])  # a view: what is written into it below is seen later
        rows = _accumulate(state, history)
        if block in exit_blocks:
            feature = _norm(state, "accumulator.head.layer_norm", rows[:, 0] + raw, 1e-5)
            feature = _ssf(state, "accumulator.head.", "1", feature)
            logits.append(_linear(state, "accumulator.head.mlp_head.0", feature))
        tokens[:, 0] = rows[:, -1]
    return torch.stack(logits)


def _accumulate(state: State, history: list[Tensor]) -> Tensor:
    """Run the accumulator over the meta token and all class tokens so far, (B, l + 1, D)."""
    layer = "accumulator.transformer.layers.0"
    meta = state["accumulator.client_token"].expand(len(history[0]), -1, -1)
    rows = torch.cat([meta, torch.stack(history, 1)], 1)
    rows = rows + state["accumulator.pos_embedding"][:, : rows.shape[1]]
    qkv = _linear(state, f"{layer}.0.fn.fn.to_qkv", _norm(state, f"{layer}.0.fn.norm", rows, 1e-5))
    # The release scales by the inner width, 16, and has 8 heads of width 2.
    attended = _attend(*qkv.chunk(3, -1), num_heads=8, scale=16**-0.5)
    rows = rows + _linear(state, f"{layer}.0.fn.fn.to_out.0", attended)
    seen = _norm(state, f"{layer}.1.fn.norm", rows, 1e-5)
    hidden = _linear(state, f"{layer}.1.fn.fn.net.0", seen)
    return rows + _linear(state, f"{layer}.1.fn.fn.net.3", functional.gelu(hidden))


def _block(state: State, block: str, tokens: Tensor, num_heads: int, regime: Regime) -> Tensor:
    seen = _ssf(state, f"{block}.", "1", _norm(state, f"{block}.norm1", tokens, 1e-6))
    attended = _attention(state, f"{block}.attn", seen, num_heads)
    adapter = f"{block}.attn.attn_adapter"
    tokens = tokens + _adapted(state, adapter, seen, attended, regime)
    seen = _ssf(state, f"{block}.", "2", _norm(state, f"{block}.norm2", tokens, 1e-6))
    hidden = _ssf(state, f"{block}.mlp.", "1", _linear(state, f"{block}.mlp.fc1", seen))
    out = _linear(state, f"{block}.mlp.fc2", functional.gelu(hidden))
    out = _ssf(state, f"{block}.mlp.", "2", out)
    return tokens + _adapted(state, f"{block}.mlp.ffn_adapter", seen, out, regime)


def _attention(state: State, attn: str, seen: Tensor, num_heads: int) -> Tensor:
    parts = []
    for part in "qkv":
        rows = _linear(state, f"{attn}.{part}", seen)
        if f"{attn}.{part}.ef_lora_A" in state:  # alpha 64 over rank 32: twice
            down, up = state[f"{attn}.{part}.ef_lora_A"], state[f"{attn}.{part}.ef_lora_B"]
            rows = rows + 2 * (seen @ down.T @ up.T)
        parts.append(_ssf(state, f"{attn}.", part, rows))
    query, key, value = parts
    scale = (query.shape[-1] // num_heads) ** -0.5
    attended = _attend(query, key, value, num_heads=num_heads, scale=scale)
    return _ssf(state, f"{attn}.", "1", _linear(state, f"{attn}.proj", attended))


def _ssf(state: State, prefix: str, site: str, rows: Tensor) -> Tensor:
    """Scale and shift, where the state dict has the site."""
    if f"{prefix}ssf_scale_{site}" not in state:
        return rows
    return rows * state[f"{prefix}ssf_scale_{site}"] + state[f"{prefix}ssf_shift_{site}"]


def _adapted(state: State, name: str, seen: Tensor, out: Tensor, regime: Regime) -> Tensor:
    """Add a bottleneck adapter to what a sub-layer made of ``seen``, where there is one."""
    if f"{name}.down_proj.weight" not in state:
        return out
    rows = seen if regime == "parallel-adapter" else out
    hidden = torch.relu(_linear(state, f"{name}.down_proj", rows))
    return out + _linear(state, f"{name}.up_proj", hidden)


def _attend(query: Tensor, key: Tensor, value: Tensor, *, num_heads: int, scale: float) -> Tensor:
    heads = []
    for q, k, v in zip(*(part.chunk(num_heads, -1) for part in (query, key, value)), strict=True):
        weights = torch.softmax(q @ k.transpose(1, 2) * scale, dim=-1)
        heads.append(weights @ v)
    return torch.cat(heads, -1)


def _linear(state: State, name: str, rows: Tensor) -> Tensor:
    return rows @ state[f"{name}.weight"].T + state[f"{name}.bias"]


def _norm(state: State, name: str, rows: Tensor, eps: float) -> Tensor:
    weight, bias = state[f"{name}.weight"], state[f"{name}.bias"]
    return functional.layer_norm(rows, rows.shape[-1:], weight, bias, eps)

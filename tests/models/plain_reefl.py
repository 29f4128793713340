"""ReeFL as the released code computes it: one plain recurrence, nothing cached.

Written from the description of royson/reefl 61b18c1, not from our network: the whole sequence goes
through the accumulator after every block, and the class token is overwritten in place, so that the
stored history, a list of views, changes with it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import gelu, layer_norm, linear

from reefl_edge.submodel import Submodel

Arrays = Mapping[str, Tensor]
History = Literal["modulated", "raw"]


@dataclass
class PlainRun:
    """What the recurrence went through."""

    logits: list[Tensor] = field(default_factory=list)
    sequences: list[Tensor] = field(default_factory=list)
    outputs: list[Tensor] = field(default_factory=list)
    raw_tokens: list[Tensor] = field(default_factory=list)


def run_plain(
    arrays: Arrays, images: Tensor, submodel: Submodel, *, history: History = "modulated"
) -> PlainRun:
    """Run every block and exit of a sub-model on normalised images."""
    architecture = submodel.architecture
    patches = _patches(images, architecture.patch_size) @ _kernel(arrays).T
    patches = patches + arrays["patch_embed.proj.bias"]
    cls_token = arrays["cls_token"].expand(len(images), 1, -1)
    tokens = torch.cat([cls_token, patches], 1) + arrays["pos_embed"]
    run = PlainRun()
    seen: list[Tensor] = []
    for block_index in range(submodel.depth):
        tokens = _block(arrays, f"blocks.{block_index}", tokens, architecture.num_heads)
        raw = tokens[:, 0].clone()
        stored = raw if history == "raw" else tokens[:, 0]  # a view: the write below changes it
        meta = arrays["accumulator.meta_token"].expand_as(raw)
        sequence = torch.stack([meta, *seen, raw], 1)
        output = _accumulate(arrays, sequence, architecture.accumulator_heads)
        if block_index in submodel.exit_blocks:
            run.logits.append(classify(arrays, output[:, 0] + raw))
        tokens[:, 0] = output[:, -1]
        seen.append(stored)
        run.sequences.append(sequence)
        run.outputs.append(output)
        run.raw_tokens.append(raw)
    return run


def classify(arrays: Arrays, feature: Tensor) -> Tensor:
    """Norm, then the linear layer that all exits share."""
    return _linear(arrays, "classifier.linear", _norm(arrays, "classifier.norm", feature, 1e-5))


def _accumulate(arrays: Arrays, sequence: Tensor, num_heads: int) -> Tensor:
    sequence = sequence + arrays["accumulator.depth_embedding"][: sequence.shape[1]]
    normed = _norm(arrays, "accumulator.norm1", sequence, 1e-5)
    sequence = sequence + _attention(arrays, "accumulator", normed, num_heads, scale=16**-0.5)
    return sequence + _mlp(
        arrays, "accumulator.mlp", _norm(arrays, "accumulator.norm2", sequence, 1e-5)
    )


def _block(arrays: Arrays, block: str, tokens: Tensor, num_heads: int) -> Tensor:
    normed = _norm(arrays, f"{block}.norm1", tokens, 1e-6)
    scale = (tokens.shape[-1] // num_heads) ** -0.5
    tokens = tokens + _attention(arrays, f"{block}.attn", normed, num_heads, scale=scale)
    return tokens + _mlp(arrays, f"{block}.mlp", _norm(arrays, f"{block}.norm2", tokens, 1e-6))


def _attention(arrays: Arrays, name: str, rows: Tensor, num_heads: int, *, scale: float) -> Tensor:
    query, key, value = _linear(arrays, f"{name}.qkv", rows).chunk(3, -1)
    heads = []
    for q, k, v in zip(*(part.chunk(num_heads, -1) for part in (query, key, value)), strict=True):
        heads.append(torch.softmax(q @ k.transpose(1, 2) * scale, -1) @ v)
    return _linear(arrays, f"{name}.proj", torch.cat(heads, -1))


def _mlp(arrays: Arrays, name: str, rows: Tensor) -> Tensor:
    return _linear(arrays, f"{name}.fc2", gelu(_linear(arrays, f"{name}.fc1", rows)))


def _linear(arrays: Arrays, name: str, rows: Tensor) -> Tensor:
    return linear(rows, arrays[f"{name}.weight"], arrays[f"{name}.bias"])


def _norm(arrays: Arrays, name: str, rows: Tensor, eps: float) -> Tensor:
    gain, bias = arrays[f"{name}.weight"], arrays[f"{name}.bias"]
    return layer_norm(rows, (rows.shape[-1],), gain, bias, eps)


def _patches(images: Tensor, size: int) -> Tensor:
    """Cut images into patches, row by row, each laid out as the kernel is: (B, N - 1, 3 P P)."""
    cut = images.unfold(2, size, size).unfold(3, size, size)  # (B, 3, rows, columns, P, P)
    return cut.permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(1, 2)


def _kernel(arrays: Arrays) -> Tensor:
    return arrays["patch_embed.proj.weight"].flatten(1)

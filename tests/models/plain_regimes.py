"""The released formulation of every regime, written out plainly: what the fast network must equal.

Functions of named tensors, after section 2.2 and table 1.4 of the project's notes on royson/reefl
61b18c1: q, k and v apart, explicit softmax, adapters where they stand, the whole accumulator
sequence recomputed after each block, and the class token overwritten in place, so that the history
holds the modulated tokens. No code is shared with the package but the names of arrays.
"""

import torch
from torch import Tensor
from torch.nn import functional

from reefl_edge.submodel import Submodel

Arrays = dict[str, Tensor]


def plain_logits(arrays: Arrays, images: Tensor, submodel: Submodel) -> Tensor:
    """Return the logits of every exit, (E, B, C), of normalised images (B, 3, H, W)."""
    tokens = _embed(arrays, images, submodel)
    history: list[Tensor] = []
    logits = []
    for block_index in range(submodel.depth):
        tokens = _block(arrays, f"blocks.{block_index}", tokens, submodel)
        history.append(tokens[:, 0])  # a view: what is written below is seen by later blocks
        fused = _accumulate(arrays, history, submodel)
        if block_index in submodel.exit_blocks:
            feature = _norm(arrays, "classifier.norm", fused[:, 0] + tokens[:, 0], eps=1e-5)
            feature = _ssf(arrays, "classifier.ssf", feature, submodel)
            logits.append(_linear(arrays, "classifier.linear", feature))
        tokens[:, 0] = fused[:, -1]
    return torch.stack(logits)


def plain_step(
    arrays: Arrays,
    trained: list[str],
    running: list[float],
    images: Tensor,
    labels: Tensor,
    submodel: Submodel,
    *,
    rate: float,
    weight: float,
) -> Arrays:
    """Take a step of the released recipe; return all arrays after it, and change ``running``."""
    leaves = {name: array.clone().requires_grad_() for name, array in arrays.items()}
    logits = plain_logits(leaves, images, submodel)
    losses = [functional.cross_entropy(exit_logits, labels) for exit_logits in logits]
    for index, loss in enumerate(losses):
        running[index] = 0.8 * running[index] + 0.2 * loss.item()
    teacher = running.index(min(running))
    total = torch.stack(losses).sum()
    for index, exit_logits in enumerate(logits):
        if index != teacher:
            total = total + weight * functional.kl_div(
                functional.log_softmax(exit_logits, -1),
                functional.log_softmax(logits[teacher], -1).detach(),
                reduction="batchmean",
                log_target=True,
            )
    gradients = torch.autograd.grad(
        total, [leaves[name] for name in trained], materialize_grads=True
    )
    after = {
        name: arrays[name] - rate * gradient.clamp(-1, 1)
        for name, gradient in zip(trained, gradients, strict=True)
    }
    return arrays | after


def _embed(arrays: Arrays, images: Tensor, submodel: Submodel) -> Tensor:
    patch_size = submodel.architecture.patch_size
    weight, bias = arrays["patch_embed.proj.weight"], arrays["patch_embed.proj.bias"]
    patches = functional.conv2d(images, weight, bias, stride=patch_size).flatten(2).transpose(1, 2)
    patches = _ssf(arrays, "patch_embed.ssf", patches, submodel)
    cls_token = arrays["cls_token"].expand(len(images), -1, -1)
    return torch.cat([cls_token, patches], 1) + arrays["pos_embed"]


def _block(arrays: Arrays, block: str, tokens: Tensor, submodel: Submodel) -> Tensor:
    for norm, sublayer in (("norm1", "attn"), ("norm2", "mlp")):
        normed = _norm(arrays, f"{block}.{norm}", tokens, eps=1e-6)
        normed = _ssf(arrays, f"{block}.ssf_{norm}", normed, submodel)
        run = _attention if sublayer == "attn" else _mlp
        output = run(arrays, f"{block}.{sublayer}", normed, submodel)
        adapter = f"{block}.{sublayer}_adapter"
        match submodel.regime:
            case "parallel-adapter":
                output = output + _bottleneck(arrays, adapter, normed)
            case "serial-adapter":
                output = output + _bottleneck(arrays, adapter, output)
            case _:
                pass
        tokens = tokens + output
    return tokens


def _attention(arrays: Arrays, name: str, tokens: Tensor, submodel: Submodel) -> Tensor:
    num_heads = submodel.architecture.num_heads
    parts = []
    for index, part in enumerate("qkv"):
        weight = arrays[f"{name}.qkv.weight"].chunk(3)[index]
        rows = tokens @ weight.T + arrays[f"{name}.qkv.bias"].chunk(3)[index]
        if submodel.regime == "lora" and part in "qv":
            a, b = arrays[f"{name}.lora_{part}.a"], arrays[f"{name}.lora_{part}.b"]
            rows = rows + 2.0 * (tokens @ a.T) @ b.T
        rows = _ssf(arrays, f"{name}.ssf_{part}", rows, submodel)
        parts.append(_heads(rows, num_heads))
    query, key, value = parts
    scores = query @ key.transpose(-2, -1) * query.shape[-1] ** -0.5
    attended = (scores.softmax(-1) @ value).transpose(1, 2).flatten(2)
    return _ssf(arrays, f"{name}.ssf_proj", _linear(arrays, f"{name}.proj", attended), submodel)


def _mlp(arrays: Arrays, name: str, tokens: Tensor, submodel: Submodel) -> Tensor:
    hidden = _ssf(arrays, f"{name}.ssf_fc1", _linear(arrays, f"{name}.fc1", tokens), submodel)
    output = _linear(arrays, f"{name}.fc2", functional.gelu(hidden))
    return _ssf(arrays, f"{name}.ssf_fc2", output, submodel)


def _bottleneck(arrays: Arrays, name: str, tokens: Tensor) -> Tensor:
    return _linear(arrays, f"{name}.up", _linear(arrays, f"{name}.down", tokens).relu())


def _ssf(arrays: Arrays, name: str, features: Tensor, submodel: Submodel) -> Tensor:
    if submodel.regime != "ssf":
        return features
    return features * arrays[f"{name}.scale"] + arrays[f"{name}.shift"]


def _accumulate(arrays: Arrays, history: list[Tensor], submodel: Submodel) -> Tensor:
    """Return every row that the accumulator gives for the class tokens so far, (B, l + 1, D)."""
    architecture = submodel.architecture
    meta = arrays["accumulator.meta_token"].expand_as(history[0])
    rows = torch.stack([meta, *history], 1)
    rows = rows + arrays["accumulator.depth_embedding"][: rows.shape[1]]
    normed = _norm(arrays, "accumulator.norm1", rows, eps=1e-5)
    query, key, value = (
        _heads(part, architecture.accumulator_heads)
        for part in _linear(arrays, "accumulator.qkv", normed).chunk(3, -1)
    )
    scores = query @ key.transpose(-2, -1) * architecture.accumulator_width**-0.5
    attended = (scores.softmax(-1) @ value).transpose(1, 2).flatten(2)
    rows = rows + _linear(arrays, "accumulator.proj", attended)
    normed = _norm(arrays, "accumulator.norm2", rows, eps=1e-5)
    hidden = functional.gelu(_linear(arrays, "accumulator.mlp.fc1", normed))
    return rows + _linear(arrays, "accumulator.mlp.fc2", hidden)


def _heads(rows: Tensor, num_heads: int) -> Tensor:
    """Give each head its part of every row, (B, heads, N, d)."""
    return rows.reshape(*rows.shape[:2], num_heads, -1).transpose(1, 2)


def _linear(arrays: Arrays, name: str, rows: Tensor) -> Tensor:
    return rows @ arrays[f"{name}.weight"].T + arrays[f"{name}.bias"]


def _norm(arrays: Arrays, name: str, rows: Tensor, *, eps: float) -> Tensor:
    centred = rows - rows.mean(-1, keepdim=True)
    scaled = centred / torch.sqrt(centred.square().mean(-1, keepdim=True) + eps)
    return scaled * arrays[f"{name}.weight"] + arrays[f"{name}.bias"]

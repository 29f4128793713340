"""How can a network compute the same with cheaper norms?

A layer norm does not see the mean of its input, so everything that writes to the residual stream
can have its mean taken out beforehand, in its weights: the stream is then centred, and no norm has
to centre it. Scale and shift of a norm move into the linear layer that reads it. What is left of a
norm is a division by the root of the mean square.

Letters: D width, O outputs of a linear layer.
Source: SliceGPT, Ashkboos et al. 2024, section 3.1 (LayerNorm as RMSNorm).
"""

from typing import cast

import torch
from torch import Tensor, nn

from reefl_edge.models.reefl import Classifier, ReeFL
from reefl_edge.models.vit import MLP, Attention, Block, PatchEmbed


def can_absorb(network: ReeFL) -> bool:
    """Return whether the residual stream is read through norms only; adapters may read it raw."""
    return all(type(block) is Block for block in network.blocks)


@torch.no_grad()
def absorb_norms(network: ReeFL) -> None:
    """Change weights in place: the same logits, a centred stream, norms without scale and shift.

    Tokens, keys and values that segments hand on keep their shapes; tokens are centred.
    """
    for array in (network.cls_token, network.pos_embed):
        _centre(array, dim=-1)
    accumulator = network.accumulator
    for array in (accumulator.meta_token, accumulator.depth_embedding):
        _centre(array, dim=-1)
    patch_embed = cast(PatchEmbed, network.patch_embed)
    classifier = cast(Classifier, network.classifier)
    writers: list[nn.Linear | nn.Conv2d] = [
        patch_embed.proj,
        accumulator.proj,
        accumulator.mlp.fc2,
    ]
    readers: list[tuple[nn.LayerNorm, nn.Linear]] = [
        (accumulator.norm1, accumulator.qkv),
        (accumulator.norm2, accumulator.mlp.fc1),
        (classifier.norm, classifier.linear),
    ]
    for block in cast(list[Block], network.blocks):
        attn, mlp = cast(Attention, block.attn), cast(MLP, block.mlp)
        writers += [attn.proj, mlp.fc2]
        readers += [(block.norm1, attn.qkv), (block.norm2, mlp.fc1)]
    for writer in writers:
        _centre(writer.weight, dim=0)
        _centre(cast(Tensor, writer.bias), dim=0)
    for norm, reader in readers:
        _move_into(reader, norm)


def _centre(array: Tensor, *, dim: int) -> None:
    exact = array.double()
    array.copy_(exact - exact.mean(dim, keepdim=True))


def _move_into(reader: nn.Linear, norm: nn.LayerNorm) -> None:
    """Let a linear layer (O, D) do the scaling and shifting of the norm before it."""
    weight, scale, shift = (array.double() for array in (reader.weight, norm.weight, norm.bias))
    reader.bias.copy_(reader.bias.double() + weight @ shift)
    reader.weight.copy_(weight * scale)
    norm.weight.fill_(1)
    norm.bias.fill_(0)

"""What are the small modules that a fine-tuning regime adds to a backbone?

Three kinds: *LoRA* adds a product of low rank to a projection, a *bottleneck adapter* adds a small
MLP to a sub-layer, *SSF* scales and shifts features. Where they stand is in ``models/adapted.py``;
their arrays' names and shapes are in ``reefl_edge/regimes.py``. Names in the released state dict,
under the same prefixes (``patch_embed.``, ``blocks.N.``, ``blocks.N.attn.``, ``blocks.N.mlp.``):

    regime      released                               here
    lora        attn.q.ef_lora_A, _B                   attn.lora_q.a, .b        (r, D), (D, r)
                attn.v.ef_lora_A, _B                   attn.lora_v.a, .b        (r, D), (D, r)
    parallel-   attn.attn_adapter.down_proj|up_proj.*  attn_adapter.down|up.*   (r, D), (D, r)
    and serial- mlp.ffn_adapter.down_proj|up_proj.*    mlp_adapter.down|up.*    (r, D), (D, r)
    ssf         patch_embed.ssf_scale_1, _shift_1      patch_embed.ssf.scale, .shift      (D,)
                accumulator.head.ssf_scale_1, ...      classifier.ssf.scale, ...          (D,)
                ssf_scale_1, ssf_scale_2               ssf_norm1.scale, ssf_norm2.scale   (D,)
                attn.ssf_scale_q, _k, _v               attn.ssf_q.scale, ssf_k, ssf_v     (D,)
                attn.ssf_scale_1                       attn.ssf_proj.scale                (D,)
                mlp.ssf_scale_1                        mlp.ssf_fc1.scale                  (H,)
                mlp.ssf_scale_2                        mlp.ssf_fc2.scale                  (D,)

LoRA starts as the identity; the others do not, because the released code initialises all weights
anew after its adapters have set their own.

Letters: D width, H hidden width of a block's MLP, r rank (32).
Sources: LoRA, Hu et al. 2021; parallel adapters, He et al. 2022; serial adapters, Houlsby et al.
2019; SSF, Lian et al. 2022; all as in royson/reefl 61b18c1.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from reefl_edge.regimes import ADAPTER_RANK, LORA_SCALING

_SSF_STD = 0.02


class LoRA(nn.Module):
    """A product of low rank, to be added to what a square projection gives."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.empty(ADAPTER_RANK, width))
        self.b = nn.Parameter(torch.zeros(width, ADAPTER_RANK))
        nn.init.kaiming_uniform_(self.a, a=math.sqrt(5))

    def forward(self, tokens: Tensor) -> Tensor:
        """Return what is added for the projection's input, (..., D) to (..., D)."""
        # Scaled where it is narrow; the factor is a power of two, so the result is the same.
        return functional.linear(LORA_SCALING * functional.linear(tokens, self.a), self.b)


class BottleneckAdapter(nn.Module):
    """Down to r, ReLU, and up again; the builder draws its weights as all linear layers'."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.down = nn.Linear(width, ADAPTER_RANK)
        self.up = nn.Linear(ADAPTER_RANK, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return what is added to a sub-layer's output, (..., D) to (..., D)."""
        added: Tensor = self.up(functional.relu(self.down(tokens)))
        return added


class SSF(nn.Module):
    """Scale and shift each feature."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.empty(width).normal_(1, _SSF_STD))
        self.shift = nn.Parameter(torch.empty(width).normal_(0, _SSF_STD))

    def forward(self, features: Tensor) -> Tensor:
        """Scale and shift features, (..., width)."""
        return features * self.scale + self.shift

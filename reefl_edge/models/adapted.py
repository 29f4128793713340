"""Where do adapters stand in a backbone?

One class for each part of the plain network that a regime changes, with the same arrays and those
of its adapters; the builder puts them in the plain part's place.

    lora               query += LoRA(x), value += LoRA(x)           inside attention
    parallel-adapter   tokens + sublayer(x) + adapter(x)            x = norm(tokens)
    serial-adapter     tokens + s + adapter(s)                      s = sublayer(norm(tokens))
    ssf                scale and shift behind every norm and every linear layer

Letters: B batch, H and W image size, N tokens, D width, C classes.
Source: royson/reefl 61b18c1.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from reefl_edge.models.accumulator import ACCUMULATOR_NORM_EPS
from reefl_edge.models.adapters import SSF, BottleneckAdapter, LoRA
from reefl_edge.models.vit import BACKBONE_NORM_EPS, MLP, Attention, attend


class LoRAAttention(nn.Module):
    """Attention whose query and value projections have LoRA beside them."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.lora_q = LoRA(width)
        self.lora_v = LoRA(width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Let every token (B, N, D) attend to all."""
        # Apart, not fused: of a fused product the keys would keep all three parts for the backward
        # pass, beside the queries and values that LoRA makes anew.
        query, key, value = (
            functional.linear(tokens, weight, bias)
            for weight, bias in zip(self.qkv.weight.chunk(3), self.qkv.bias.chunk(3), strict=True)
        )
        query = query + self.lora_q(tokens)
        value = value + self.lora_v(tokens)
        projected: Tensor = self.proj(attend(query, key, value, num_heads=self.num_heads))
        return projected


class ParallelBlock(nn.Module):
    """A block whose sub-layers have an adapter beside them, on the same normed input."""

    def __init__(self, width: int, attn: Attention, mlp: MLP) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=BACKBONE_NORM_EPS)
        self.attn = attn
        self.attn_adapter = BottleneckAdapter(width)
        self.norm2 = nn.LayerNorm(width, eps=BACKBONE_NORM_EPS)
        self.mlp = mlp
        self.mlp_adapter = BottleneckAdapter(width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Transform tokens (B, N, D)."""
        normed = self.norm1(tokens)
        tokens = tokens + self.attn(normed) + self.attn_adapter(normed)
        normed = self.norm2(tokens)
        transformed: Tensor = tokens + self.mlp(normed) + self.mlp_adapter(normed)
        return transformed


class SerialBlock(nn.Module):
    """A block whose sub-layers have an adapter behind them, with a residual of its own."""

    def __init__(self, width: int, attn: Attention, mlp: MLP) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=BACKBONE_NORM_EPS)
        self.attn = attn
        self.attn_adapter = BottleneckAdapter(width)
        self.norm2 = nn.LayerNorm(width, eps=BACKBONE_NORM_EPS)
        self.mlp = mlp
        self.mlp_adapter = BottleneckAdapter(width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Transform tokens (B, N, D)."""
        attended = self.attn(self.norm1(tokens))
        tokens = tokens + attended + self.attn_adapter(attended)
        transformed = self.mlp(self.norm2(tokens))
        adapted: Tensor = tokens + transformed + self.mlp_adapter(transformed)
        return adapted


class SSFPatchEmbed(nn.Module):
    """Cut an image into patches, project each to a token, scale and shift."""

    def __init__(self, *, width: int, patch_size: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, kernel_size=patch_size, stride=patch_size)
        self.ssf = SSF(width)

    def forward(self, images: Tensor) -> Tensor:
        """Turn images (B, 3, H, W) into tokens (B, N - 1, D)."""
        tokens: Tensor = self.ssf(self.proj(images).flatten(2).transpose(1, 2))
        return tokens


class SSFAttention(nn.Module):
    """Attention with scale and shift behind each of its four projections."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(width, 3 * width)
        self.ssf_q = SSF(width)
        self.ssf_k = SSF(width)
        self.ssf_v = SSF(width)
        self.proj = nn.Linear(width, width)
        self.ssf_proj = SSF(width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Let every token (B, N, D) attend to all."""
        # The vectors of the three side by side, so that the fused product stays whole.
        parts = (self.ssf_q, self.ssf_k, self.ssf_v)
        scale = torch.cat([ssf.scale for ssf in parts])
        shift = torch.cat([ssf.shift for ssf in parts])
        query, key, value = (self.qkv(tokens) * scale + shift).chunk(3, dim=-1)
        attended = attend(query, key, value, num_heads=self.num_heads)
        projected: Tensor = self.ssf_proj(self.proj(attended))
        return projected


class SSFMLP(nn.Module):
    """Two linear layers, scale and shift behind each, with a GELU between them."""

    def __init__(self, width: int, hidden_width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden_width)
        self.ssf_fc1 = SSF(hidden_width)
        self.fc2 = nn.Linear(hidden_width, width)
        self.ssf_fc2 = SSF(width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Transform each token, (..., D)."""
        hidden = functional.gelu(self.ssf_fc1(self.fc1(tokens)))
        transformed: Tensor = self.ssf_fc2(self.fc2(hidden))
        return transformed


class SSFBlock(nn.Module):
    """A block with scale and shift behind its norms, too."""

    def __init__(self, width: int, attn: SSFAttention, mlp: SSFMLP) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=BACKBONE_NORM_EPS)
        self.ssf_norm1 = SSF(width)
        self.attn = attn
        self.norm2 = nn.LayerNorm(width, eps=BACKBONE_NORM_EPS)
        self.ssf_norm2 = SSF(width)
        self.mlp = mlp

    def forward(self, tokens: Tensor) -> Tensor:
        """Transform tokens (B, N, D)."""
        tokens = tokens + self.attn(self.ssf_norm1(self.norm1(tokens)))
        transformed: Tensor = tokens + self.mlp(self.ssf_norm2(self.norm2(tokens)))
        return transformed


class SSFClassifier(nn.Module):
    """The output layer shared by all exits, with scale and shift behind its norm."""

    def __init__(self, *, width: int, num_classes: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=ACCUMULATOR_NORM_EPS)
        self.ssf = SSF(width)
        self.linear = nn.Linear(width, num_classes)

    def forward(self, feature: Tensor) -> Tensor:
        """Turn a feature (B, D) into logits (B, C)."""
        logits: Tensor = self.linear(self.ssf(self.norm(feature)))
        return logits

"""What is the backbone: how do an image's patches become tokens, and what does a block do?

A pre-norm vision transformer with timm's names, so that a DeiT file loads without a mapping. It has
no final norm: the classifier brings its own.

Letters: B batch, H and W image size, N tokens, D width.
Source: DeiT, Touvron et al. 2021.
"""

from torch import Tensor, nn
from torch.nn import functional

BACKBONE_NORM_EPS = 1e-6


class PatchEmbed(nn.Module):
    """Cut an image into patches and project each to a token."""

    def __init__(self, *, width: int, patch_size: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, kernel_size=patch_size, stride=patch_size)

    def forward(self, images: Tensor) -> Tensor:
        """Turn images (B, 3, H, W) into tokens (B, N - 1, D)."""
        tokens: Tensor = self.proj(images).flatten(2).transpose(1, 2)
        return tokens


class MLP(nn.Module):
    """Two linear layers with a GELU between them."""

    def __init__(self, width: int, hidden_width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden_width)
        self.fc2 = nn.Linear(hidden_width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Transform each token, (..., D)."""
        transformed: Tensor = self.fc2(functional.gelu(self.fc1(tokens)))
        return transformed


class Attention(nn.Module):
    """Multi-head self-attention over all tokens."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Let every token (B, N, D) attend to all."""
        query, key, value = self.qkv(tokens).chunk(3, dim=-1)
        projected: Tensor = self.proj(attend(query, key, value, num_heads=self.num_heads))
        return projected


def attend(query: Tensor, key: Tensor, value: Tensor, *, num_heads: int) -> Tensor:
    """Let every query attend to all keys, head by head, (B, N, D) each."""
    query, key, value = (split_heads(rows, num_heads) for rows in (query, key, value))
    return join_heads(functional.scaled_dot_product_attention(query, key, value))


def split_heads(rows: Tensor, num_heads: int) -> Tensor:
    """Give each head its part of every row: (B, N, D) to (B, heads, N, D / heads)."""
    batch, num_rows, width = rows.shape
    return rows.reshape(batch, num_rows, num_heads, width // num_heads).transpose(1, 2)


def join_heads(rows: Tensor) -> Tensor:
    """Put the heads' parts side by side again: (B, heads, N, D / heads) to (B, N, D)."""
    return rows.transpose(1, 2).flatten(2)


class Block(nn.Module):
    """One transformer block: attention, then the MLP, each behind a norm and beside a residual."""

    def __init__(self, width: int, attn: nn.Module, mlp: nn.Module) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=BACKBONE_NORM_EPS)
        self.attn = attn
        self.norm2 = nn.LayerNorm(width, eps=BACKBONE_NORM_EPS)
        self.mlp = mlp

    def forward(self, tokens: Tensor) -> Tensor:
        """Transform tokens (B, N, D)."""
        tokens = tokens + self.attn(self.norm1(tokens))
        transformed: Tensor = tokens + self.mlp(self.norm2(tokens))
        return transformed

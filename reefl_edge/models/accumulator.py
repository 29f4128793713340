"""How do the class tokens seen so far become a prediction, and change the backbone?

The *accumulator* is one small pre-norm transformer layer, shared by all blocks and exits. After
block l it reads the meta token u, the modulated class tokens of the earlier blocks and the class
token of block l; row 0 of its output is *fused* into a prediction, the last row is the *modulated*
class token that the next block sees.

Earlier rows enter only as keys and values, and never change once computed, so they are cached:
this is the incremental form; the plain form is the reference in the tests.

Letters: B batch, D width, A attention width (16), R rows asked for, l blocks so far.
Source: ReeFL, Lee et al. 2024; royson/reefl 61b18c1.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from reefl_edge.models.vit import MLP, join_heads, split_heads

ACCUMULATOR_NORM_EPS = 1e-5


class Cache(NamedTuple):
    """Keys and values of the modulated class tokens so far, (B, l, A) each."""

    keys: Tensor
    values: Tensor


class Accumulator(nn.Module):
    """Fuse the class tokens so far, and modulate the latest one.

    Args:
        width: Length of a token, D.
        num_blocks: Blocks of the whole backbone: one row of the depth embedding for each, and one
            for the meta token.
        attention_width: Inner width of the attention, A.
        num_heads: Heads of the attention.
        mlp_width: Hidden width of the MLP.
    """

    def __init__(
        self, *, width: int, num_blocks: int, attention_width: int, num_heads: int, mlp_width: int
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        # The released code scales by the inner attention width, not by the width of a head.
        self.scale = attention_width**-0.5
        self.meta_token = nn.Parameter(torch.empty(width))
        self.depth_embedding = nn.Parameter(torch.empty(num_blocks + 1, width))
        self.norm1 = nn.LayerNorm(width, eps=ACCUMULATOR_NORM_EPS)
        self.qkv = nn.Linear(width, 3 * attention_width)
        self.proj = nn.Linear(attention_width, width)
        self.norm2 = nn.LayerNorm(width, eps=ACCUMULATOR_NORM_EPS)
        self.mlp = MLP(width, mlp_width)

    def forward(
        self, cls_token: Tensor, cache: Cache | None, block_index: int, *, is_exit: bool
    ) -> tuple[Tensor | None, Tensor, Cache]:
        """Read the class token of one block.

        Args:
            cls_token: Class token that block ``block_index`` gave, (B, 1, D).
            cache: Keys and values of the earlier blocks; None after the first block.
            block_index: The block just run, 0-based.
            is_exit: Whether a prediction is read here; only then is the fused feature computed.

        Returns:
            The fused feature (B, 1, D) or None, the modulated class token (B, 1, D), the longer
            cache.
        """
        depth_row = self.depth_embedding[block_index + 1]
        meta = (self.meta_token + self.depth_embedding[0]).expand_as(cls_token)
        rows = torch.cat([meta, cls_token + depth_row], dim=1)  # (B, 2, D)
        query, key, value = self.qkv(self.norm1(rows)).chunk(3, dim=-1)  # (B, 2, A) each
        if not is_exit:
            rows, query = rows[:, 1:], query[:, 1:]
        rows = rows + self.proj(self._attend(query, _with(cache, key, value)))
        rows = rows + self.mlp(self.norm2(rows))  # (B, R, D)
        fused = rows[:, :1] if is_exit else None
        modulated = rows[:, -1:]
        return fused, modulated, self._remember(cache, modulated + depth_row)

    def _attend(self, query: Tensor, seen: Cache) -> Tensor:
        """Attend from the rows asked for, (B, R, A), to every token so far."""
        query, key, value = (
            split_heads(rows, self.num_heads) for rows in (query, seen.keys, seen.values)
        )
        return join_heads(
            functional.scaled_dot_product_attention(query, key, value, scale=self.scale)
        )

    def _remember(self, cache: Cache | None, row: Tensor) -> Cache:
        """Append the key and value of a modulated class token, depth row added, (B, 1, D)."""
        _, key, value = self.qkv(self.norm1(row)).chunk(3, dim=-1)
        return _with(cache, key, value)


def _with(cache: Cache | None, key: Tensor, value: Tensor) -> Cache:
    """Return the cache with more keys and values, (B, R, A), behind those it holds."""
    if cache is None:
        return Cache(key, value)
    return Cache(torch.cat([cache.keys, key], 1), torch.cat([cache.values, value], 1))

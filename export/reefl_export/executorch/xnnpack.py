"""How is a network written so that XNNPACK takes every segment whole, in few operations?

XNNPACK has no layer norm, no attention and no split, it copies for every slice, and an operation
that it does not take ends one delegated subgraph and begins another. The parts of a network that
use these are exchanged for parts that compute the same from operations that it has.

Letters: B batch, N tokens, D width, A the accumulator's attention width, H heads, l blocks so far.
"""

import copy
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from reefl_edge.models.accumulator import Accumulator, Cache
from reefl_edge.models.reefl import ReeFL
from reefl_edge.models.vit import Attention
from reefl_export.executorch.absorb_norms import absorb_norms, can_absorb


def written_for_xnnpack(network: ReeFL) -> ReeFL:
    """Return a network that computes the same logits of one image, in the operations of XNNPACK.

    Args:
        network: The network, in evaluation mode; it stays as it is.
    """
    network = copy.deepcopy(network).requires_grad_(requires_grad=False)
    is_centred = can_absorb(network)
    if is_centred:
        absorb_norms(network)
    averaging = torch.full((1, network.cls_token.shape[-1]), 1 / network.cls_token.shape[-1])
    for name, module in list(network.named_modules()):
        match module:
            case nn.LayerNorm():
                norm = _RootMeanSquare if is_centred else _Norm
                network.set_submodule(name, norm(module, averaging))
            case Attention():
                network.set_submodule(name, _Attention(module))
    network.accumulator = cast(Accumulator, _Accumulator(network.accumulator))
    return network.eval()


def for_batches(written: ReeFL, batch_size: int) -> ReeFL:
    """Return what ``written_for_xnnpack`` gave for batches of another size, its arrays shared."""
    shared = {id(array): array for array in (*written.parameters(), *written.buffers())}
    network = copy.deepcopy(written, shared)
    cast(_Accumulator, network.accumulator).take(batch_size)
    return network


class _RootMeanSquare(nn.Module):
    """Divide centred rows (..., D) by the root of their mean square.

    XNNPACK has no mean over rows, so it is a product with a vector of 1 / D.
    """

    averaging: Tensor
    eps: Tensor

    def __init__(self, norm: nn.LayerNorm, averaging: Tensor) -> None:
        super().__init__()
        self.register_buffer("averaging", averaging)
        self.register_buffer("eps", torch.tensor([norm.eps]))

    def forward(self, rows: Tensor) -> Tensor:
        mean_square = functional.linear(rows * rows, self.averaging, self.eps)
        return rows * torch.rsqrt(mean_square)


class _Norm(_RootMeanSquare):
    """Layer norm of rows (..., D)."""

    def __init__(self, norm: nn.LayerNorm, averaging: Tensor) -> None:
        super().__init__(norm, averaging)
        self.weight, self.bias = norm.weight, norm.bias

    def forward(self, rows: Tensor) -> Tensor:
        centred = rows - functional.linear(rows, self.averaging)
        return super().forward(centred) * self.weight + self.bias


class _Attention(nn.Module):
    """Multi-head self-attention with products over (B * H, N, D / H).

    Query, key and value are products of their own, since a slice is a copy; the scale is in the
    query's weights.
    """

    def __init__(self, plain: Attention) -> None:
        super().__init__()
        self.num_heads = plain.num_heads
        head_width = plain.qkv.in_features // plain.num_heads
        self.query, self.key, self.value = _parts(plain.qkv, scale=head_width**-0.5)
        self.proj = plain.proj

    def forward(self, tokens: Tensor) -> Tensor:
        query = _by_head(self.query(tokens), self.num_heads)
        key = _by_head(self.key(tokens), self.num_heads, is_transposed=True)
        value = _by_head(self.value(tokens), self.num_heads)
        attended = torch.bmm(torch.bmm(query, key).softmax(dim=-1), value)
        projected: Tensor = self.proj(_joined(attended, self.num_heads))
        return projected


class _Seen(NamedTuple):
    """What the accumulator has seen.

    What lies in memory between two steps must not depend on how much was seen before the segment:
    runtimes of all segments share one workspace, and one that needs more memory than the last
    leaves a hole of its size behind.

    Attributes:
        before: Keys and values of the earlier segments, as they come in; None in the first.
        within: Those of this segment; None at its first step.
    """

    before: Cache | None
    within: Cache | None


class _Accumulator(nn.Module):
    """The accumulator; what depends on weights alone is computed beforehand.

    The order of keys is another: the meta token's come first, and stay.
    """

    meta: Tensor
    meta_query: Tensor
    meta_key: Tensor
    meta_value: Tensor

    def __init__(self, plain: Accumulator) -> None:
        super().__init__()
        self.num_heads = plain.num_heads
        self.norm1, self.norm2, self.mlp = plain.norm1, plain.norm2, plain.mlp
        self.query, self.key, self.value = _parts(plain.qkv, scale=plain.scale)
        self.proj = plain.proj
        meta = (plain.meta_token + plain.depth_embedding[0]).reshape(1, 1, -1)
        normed = self.norm1(meta)
        self.register_buffer("meta", meta)
        self.register_buffer("meta_query", self.query(normed))
        self.register_buffer("meta_key", self.key(normed))
        self.register_buffer("meta_value", self.value(normed))
        for index, row in enumerate(plain.depth_embedding[1:]):
            self.register_buffer(f"depth_row_{index}", row.reshape(1, 1, -1).clone())

    def take(self, batch_size: int) -> None:
        """Repeat what is known of the meta token for every image of a batch."""
        for name in ("meta", "meta_query", "meta_key", "meta_value"):
            rows = self.get_buffer(name).expand(batch_size, -1, -1).contiguous()
            self.register_buffer(name, rows)

    def forward(
        self, cls_token: Tensor, cache: Cache | _Seen | None, block_index: int, *, is_exit: bool
    ) -> tuple[Tensor | None, Tensor, Cache | _Seen]:
        """Read the class token of one block, (B, 1, D); see ``Accumulator.forward``."""
        seen = cache if isinstance(cache, _Seen) else _Seen(cache, None)
        depth_row = self.get_buffer(f"depth_row_{block_index}")
        rows = cls_token + depth_row
        normed = self.norm1(rows)
        query = self.query(normed)
        now = Cache(self.key(normed), self.value(normed))
        if is_exit:
            rows = torch.cat([self.meta, rows], dim=1)
            query = torch.cat([self.meta_query, query], dim=1)
        rows = rows + self.proj(self._attend(query, seen, now))
        rows = rows + self.mlp(self.norm2(rows))
        fused, modulated = (rows[:, :1], rows[:, 1:]) if is_exit else (None, rows)
        normed = self.norm1(modulated + depth_row)
        within = _joined_caches(seen.within, Cache(self.key(normed), self.value(normed)))
        if is_exit:
            return fused, modulated, _joined_caches(seen.before, within)
        return fused, modulated, seen._replace(within=within)

    def _attend(self, query: Tensor, seen: _Seen, now: Cache) -> Tensor:
        """Attend from queries (B, R, A) to the meta token, all that was seen, and what is now."""
        meta = Cache(self.meta_key, self.meta_value)
        keys, values = _joined_caches(meta, seen.before, seen.within, now)
        query = _by_head(query, self.num_heads)
        weights = torch.bmm(query, _by_head(keys, self.num_heads, is_transposed=True)).softmax(-1)
        return _joined(torch.bmm(weights, _by_head(values, self.num_heads)), self.num_heads)


def _joined_caches(*caches: Cache | None) -> Cache:
    """Put what some caches hold one behind the other; None holds nothing."""
    held = [cache for cache in caches if cache is not None]
    if len(held) == 1:
        return held[0]
    keys, values = zip(*held, strict=True)
    return Cache(torch.cat(keys, dim=1), torch.cat(values, dim=1))


def _parts(qkv: nn.Linear, *, scale: float) -> tuple[nn.Linear, nn.Linear, nn.Linear]:
    """Return query, scaled, key and value of a fused linear layer as layers of their own."""
    query, key, value = (
        _linear(weight, bias)
        for weight, bias in zip(qkv.weight.chunk(3), qkv.bias.chunk(3), strict=True)
    )
    query.weight.mul_(scale)
    query.bias.mul_(scale)
    return query, key, value


def _linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    layer.load_state_dict({"weight": weight, "bias": bias})
    return layer.requires_grad_(requires_grad=False)


def _by_head(rows: Tensor, num_heads: int, *, is_transposed: bool = False) -> Tensor:
    """Turn rows (B, N, D) into (B * H, N, D / H), or into (B * H, D / H, N)."""
    batch_size, num_rows, width = rows.shape
    head_width = width // num_heads
    shape = (head_width, num_rows) if is_transposed else (num_rows, head_width)
    if num_rows > 1 and batch_size > 1:
        rows = rows.view(batch_size, num_rows, num_heads, head_width)
        rows = rows.permute((0, 2, 3, 1) if is_transposed else (0, 2, 1, 3))
    elif num_rows > 1:
        rows = rows.view(num_rows, num_heads, head_width)
        return rows.permute((1, 2, 0) if is_transposed else (1, 0, 2))
    return rows.reshape(batch_size * num_heads, *shape)


def _joined(rows: Tensor, num_heads: int) -> Tensor:
    """Put the heads' parts, (B * H, N, D / H), side by side again: (B, N, D)."""
    num_rows, head_width = rows.shape[1:]
    width = num_heads * head_width
    if len(rows) == num_heads:
        return rows.transpose(0, 1).reshape(1, num_rows, width)
    rows = rows.view(-1, num_heads, num_rows, head_width).transpose(1, 2)
    return rows.reshape(-1, num_rows, width)

"""How does a block keep less for its backward pass?

A *checkpointed* block keeps only its input, and computes the rest again when the backward pass
reaches it. The network does not know: its blocks are wrapped from outside, for one step.

``torch.utils.checkpoint`` does more (random states, nesting, hooks), and on its first call imports
the compiler, which alone takes more memory than the recomputation saves at small sizes.

Letters: B batch, N tokens, D width.
Source: Chen et al. 2016, Training Deep Nets with Sublinear Memory Cost.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from reefl_edge.models.reefl import ReeFL


@contextmanager
def checkpointed(network: ReeFL) -> Iterator[None]:
    """Let all blocks of a network but the last keep only their input, until the end of the block.

    The backward pass starts with the last block: what it forgot would be missed at once.
    """
    blocks = network.blocks
    *earlier, last = blocks
    network.blocks = nn.ModuleList([*map(_Checkpointed, earlier), last])
    try:
        yield
    finally:
        network.blocks = blocks


class _Checkpointed(nn.Module):
    """Run a block, keeping for the backward pass only its input."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, tokens: Tensor) -> Tensor:
        """Transform tokens (B, N, D)."""
        # Autograd must see the parameters go in, to ask for their gradients.
        trained = [parameter for parameter in self.block.parameters() if parameter.requires_grad]
        transformed: Tensor = _Recompute.apply(  # type: ignore[no-untyped-call]
            self.block, tokens, *trained
        )
        return transformed


class _Recompute(torch.autograd.Function):
    """Compute a block without a graph; build the graph only to go back through it."""

    @staticmethod
    def forward(ctx: Any, block: nn.Module, tokens: Tensor, *trained: Tensor) -> Tensor:
        """Transform tokens (B, N, D)."""
        ctx.block = block
        ctx.save_for_backward(tokens, *trained)
        transformed: Tensor = block(tokens)
        return transformed

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Turn the gradient of what came out into those of what went in."""
        tokens, *trained = ctx.saved_tensors
        inputs = [tokens.detach().requires_grad_(ctx.needs_input_grad[1]), *trained]
        with torch.enable_grad():
            transformed = ctx.block(inputs[0])
        wanted = [tensor for tensor in inputs if tensor.requires_grad]
        found = iter(torch.autograd.grad(transformed, wanted, gradients))
        return None, *(next(found) if tensor.requires_grad else None for tensor in inputs)

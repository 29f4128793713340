"""How does a block keep less for its backward pass?

A *recomputed* block keeps only its input, and computes the rest again when the backward pass
reaches it, a few images at a time. The network does not know: its blocks are wrapped from outside,
for one step.

``torch.utils.checkpoint`` does more (random states, nesting, hooks), and on its first call imports
the compiler, which takes over 100 MiB.

Letters: B batch, N tokens, D width.
Source: Chen et al. 2016, Training Deep Nets with Sublinear Memory Cost.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from reefl_edge.models.reefl import ReeFL

# A block treats every image by itself: so many at once, and what a block needs while it runs does
# not grow with the batch.
IMAGES_AT_ONCE = 2


@contextmanager
def recomputing(network: ReeFL) -> Iterator[None]:
    """Let all blocks of a network keep only their input.

    The last one too, though the backward pass starts with it: it would keep the whole batch where
    the others keep a few images.
    """
    blocks = network.blocks
    kept = _KeptInputs(len(blocks))
    network.blocks = nn.ModuleList(
        [_Recomputed(block, kept, index) for index, block in enumerate(blocks)]
    )
    try:
        yield
    finally:
        network.blocks = blocks


class _KeptInputs:
    """The blocks' inputs, side by side in one array.

    Each where the allocator happened to put it, between what blocks allocate and free, they would
    leave holes that the next block does not fit into: a third more memory with glibc's.
    """

    def __init__(self, num_blocks: int) -> None:
        self._num_blocks = num_blocks
        self._all: Tensor | None = None

    def keep(self, index: int, tokens: Tensor) -> Tensor:
        """Copy the input of block ``index``, (B, N, D), to its place; return it there."""
        if self._all is None:
            self._all = tokens.new_empty(self._num_blocks, *tokens.shape)
        return self._all[index].copy_(tokens)


class _Recomputed(nn.Module):
    """Run a block, keeping for the backward pass only its input."""

    def __init__(self, block: nn.Module, kept: _KeptInputs, index: int) -> None:
        super().__init__()
        self.block = block
        self.kept = kept
        self.index = index

    def forward(self, tokens: Tensor) -> Tensor:
        """Transform tokens (B, N, D)."""
        # Autograd must see the parameters go in, to ask for their gradients.
        trained = [parameter for parameter in self.block.parameters() if parameter.requires_grad]
        if not (trained or tokens.requires_grad):
            unchanged: Tensor = self.block(tokens)
            return unchanged
        with torch.no_grad():
            place = self.kept.keep(self.index, tokens)
        transformed: Tensor = _Recompute.apply(  # type: ignore[no-untyped-call]
            self.block, place, tokens, *trained
        )
        return transformed


class _Recompute(torch.autograd.Function):
    """Compute a block without a graph; build the graph only to go back through it."""

    @staticmethod
    def forward(
        ctx: Any, block: nn.Module, place: Tensor, tokens: Tensor, *trained: Tensor
    ) -> Tensor:
        """Transform tokens (B, N, D), a copy of which is in ``place``."""
        ctx.block = block
        ctx.place = place
        ctx.trained = trained
        return torch.cat([block(images) for images in _parts(tokens)])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Turn the gradient of what came out into those of what went in."""
        is_tokens_wanted = ctx.needs_input_grad[2]
        of_tokens: list[Tensor] = []
        of_trained = [torch.zeros_like(array) for array in ctx.trained]
        for images, of_images in zip(_parts(ctx.place), _parts(gradient), strict=True):
            tokens = images.detach().requires_grad_(is_tokens_wanted)
            with torch.enable_grad():
                transformed = ctx.block(tokens)
            wanted = [*ctx.trained, *([tokens] if is_tokens_wanted else [])]
            found = torch.autograd.grad(transformed, wanted, of_images)
            for total, part in zip(of_trained, found[: len(of_trained)], strict=True):
                total.add_(part)
            of_tokens.extend(found[len(of_trained) :])
        return None, None, torch.cat(of_tokens) if is_tokens_wanted else None, *of_trained


def _parts(tokens: Tensor) -> tuple[Tensor, ...]:
    """Cut tokens (B, N, D) along the batch."""
    return torch.split(tokens, IMAGES_AT_ONCE)

"""How does a sub-model run: block after block, the accumulator after each, a prediction per exit?

    X^0 = patches and class token, plus position embedding
    for each block l:
        X^l   = Block_l(X^(l-1)),  c_l = its class token
        M     = Accumulator(u, modulated tokens of earlier blocks, c_l)
        exit: logits = Classifier(M[meta row] + c_l)          # the raw class token
        X^l's class token becomes M[last row]                 # modulation

The history the accumulator reads holds the *modulated* tokens: the released code writes them back
in place. The training network runs every exit; a deployed one runs *segments*, from exit to exit.

Letters: B batch, H and W image size, N tokens, D width, E exits, C classes.
Source: ReeFL, Lee et al. 2024; royson/reefl 61b18c1.
"""

import torch
from torch import Tensor, nn

from reefl_edge.models.accumulator import ACCUMULATOR_NORM_EPS, Accumulator, Cache
from reefl_edge.submodel import Submodel


class Classifier(nn.Module):
    """The output layer shared by all exits."""

    def __init__(self, *, width: int, num_classes: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=ACCUMULATOR_NORM_EPS)
        self.linear = nn.Linear(width, num_classes)

    def forward(self, feature: Tensor) -> Tensor:
        """Turn a feature (B, D) into logits (B, C)."""
        logits: Tensor = self.linear(self.norm(feature))
        return logits


class ReeFL(nn.Module):
    """A backbone with recurrent early exits.

    Args:
        width: Length of a token, D.
        num_tokens: Tokens of one image, N.
        patch_embed: Turns images into patch tokens.
        blocks: The backbone's blocks, as deep as the sub-model.
        accumulator: Shared by all blocks.
        classifier: Shared by all exits.
        exit_blocks: The block each exit reads.
        submodel: What this network is: read by checkpoints and exporters, never by ``forward``.
    """

    def __init__(
        self,
        *,
        width: int,
        num_tokens: int,
        patch_embed: nn.Module,
        blocks: list[nn.Module],
        accumulator: Accumulator,
        classifier: nn.Module,
        exit_blocks: tuple[int, ...],
        submodel: Submodel,
    ) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.empty(1, 1, width))
        self.pos_embed = nn.Parameter(torch.empty(1, num_tokens, width))
        self.patch_embed = patch_embed
        self.blocks = nn.ModuleList(blocks)
        self.accumulator = accumulator
        self.classifier = classifier
        self.exit_blocks = exit_blocks
        self.submodel = submodel

    def forward(self, images: Tensor) -> Tensor:
        """Predict at every exit.

        Args:
            images: Normalised pixels, float32, (B, 3, H, W).

        Returns:
            Logits of all exits, shallowest first, (E, B, C).
        """
        tokens, cache = self.embed(images), None
        logits = []
        for exit_index in range(len(self.exit_blocks)):
            tokens, cache, exit_logits = self.run_segment(exit_index, tokens, cache)
            logits.append(exit_logits)
        return torch.stack(logits)

    def embed(self, images: Tensor) -> Tensor:
        """Turn images (B, 3, H, W) into tokens (B, N, D), the class token first."""
        patches = self.patch_embed(images)
        cls_token = self.cls_token.expand(patches.shape[0], -1, -1)
        return torch.cat([cls_token, patches], dim=1) + self.pos_embed

    def run_segment(
        self, exit_index: int, tokens: Tensor, cache: Cache | None
    ) -> tuple[Tensor, Cache | None, Tensor]:
        """Run the blocks between the previous exit and this one.

        Args:
            exit_index: The exit to reach.
            tokens: What the previous segment gave, or ``embed``, (B, N, D).
            cache: What the previous segment gave; None for the first.

        Returns:
            Tokens (B, N, D) and cache for the next segment, and this exit's logits (B, C).
        """
        first_block = self.exit_blocks[exit_index - 1] + 1 if exit_index else 0
        exit_block = self.exit_blocks[exit_index]
        logits = None
        for block_index in range(first_block, exit_block + 1):
            tokens = self.blocks[block_index](tokens)
            tokens, cache, logits = self.accumulate(
                tokens, cache, block_index, is_exit=block_index == exit_block
            )
        assert logits is not None  # the last block is an exit's
        return tokens, cache, logits

    def accumulate(
        self, tokens: Tensor, cache: Cache | None, block_index: int, *, is_exit: bool
    ) -> tuple[Tensor, Cache, Tensor | None]:
        """Let the accumulator read what a block gave, and write its class token back.

        Args:
            tokens: What the block gave, (B, N, D).
            cache: Of the earlier blocks; None after the first.
            block_index: The block just run, 0-based.
            is_exit: Whether a prediction is read here.

        Returns:
            Modulated tokens (B, N, D), the longer cache, and logits (B, C) or None.
        """
        # Two slices would go back through two arrays of zeros, as large as the tokens.
        cls_token, patches = tokens.split_with_sizes((1, tokens.shape[1] - 1), dim=1)
        fused, modulated, cache = self.accumulator(cls_token, cache, block_index, is_exit=is_exit)
        logits = self.classifier((fused + cls_token).flatten(1)) if is_exit else None
        return torch.cat([modulated, patches], dim=1), cache, logits

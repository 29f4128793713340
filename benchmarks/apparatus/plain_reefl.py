"""What does ReeFL cost when written down as the released code writes it?

The reference of ``training_step.py``: queries, keys and values apart, attention with an explicit
softmax, and after every block the accumulator over the whole sequence so far. The class tokens
seen are views of the tokens, overwritten in place by the modulated ones. Every array gets a
gradient, whatever is trained; a stock optimiser takes the step.

Letters: B batch, N tokens, D width, A attention width, l blocks so far, E exits, C classes.
Source: royson/reefl 61b18c1, as far as the paper's recurrence goes.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from reefl_edge.models.accumulator import ACCUMULATOR_NORM_EPS
from reefl_edge.models.reefl import Classifier
from reefl_edge.models.vit import BACKBONE_NORM_EPS, MLP, PatchEmbed
from reefl_edge.submodel import Submodel


class PlainAttention(nn.Module):
    """Multi-head self-attention, written out."""

    def __init__(self, *, width: int, inner_width: int, num_heads: int, scale: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.scale = scale
        self.q = nn.Linear(width, inner_width)
        self.k = nn.Linear(width, inner_width)
        self.v = nn.Linear(width, inner_width)
        self.proj = nn.Linear(inner_width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Let every token (B, N, D) attend to all."""
        query, key, value = (
            self._split_heads(layer(tokens)) for layer in (self.q, self.k, self.v)
        )  # (B, heads, N, A / heads) each
        scores = query @ key.transpose(-2, -1) * self.scale
        attended = scores.softmax(-1) @ value
        projected: Tensor = self.proj(attended.transpose(1, 2).flatten(2))
        return projected

    def _split_heads(self, rows: Tensor) -> Tensor:
        batch, num_rows, width = rows.shape
        return rows.reshape(batch, num_rows, self.num_heads, width // self.num_heads).transpose(
            1, 2
        )


class PlainBlock(nn.Module):
    """One pre-norm transformer layer: of the backbone, or the accumulator's."""

    def __init__(self, *, width: int, attn: PlainAttention, mlp_width: int, eps: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=eps)
        self.attn = attn
        self.norm2 = nn.LayerNorm(width, eps=eps)
        self.mlp = MLP(width, mlp_width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Transform tokens (B, N, D)."""
        tokens = tokens + self.attn(self.norm1(tokens))
        transformed: Tensor = tokens + self.mlp(self.norm2(tokens))
        return transformed


class PlainReeFL(nn.Module):
    """A backbone with recurrent early exits, all of it recomputed after every block."""

    def __init__(self, submodel: Submodel) -> None:
        super().__init__()
        sizes = submodel.architecture
        self.cls_token = nn.Parameter(torch.empty(1, 1, sizes.width))
        self.pos_embed = nn.Parameter(torch.empty(1, sizes.num_tokens, sizes.width))
        self.patch_embed = PatchEmbed(width=sizes.width, patch_size=sizes.patch_size)
        self.blocks = nn.ModuleList(
            PlainBlock(
                width=sizes.width,
                attn=PlainAttention(
                    width=sizes.width,
                    inner_width=sizes.width,
                    num_heads=sizes.num_heads,
                    scale=(sizes.width // sizes.num_heads) ** -0.5,
                ),
                mlp_width=sizes.mlp_width,
                eps=BACKBONE_NORM_EPS,
            )
            for _ in range(submodel.depth)
        )
        self.meta_token = nn.Parameter(torch.empty(sizes.width))
        self.depth_embedding = nn.Parameter(torch.empty(sizes.num_blocks + 1, sizes.width))
        self.accumulator = PlainBlock(
            width=sizes.width,
            attn=PlainAttention(
                width=sizes.width,
                inner_width=sizes.accumulator_width,
                num_heads=sizes.accumulator_heads,
                scale=sizes.accumulator_width**-0.5,
            ),
            mlp_width=sizes.accumulator_mlp_width,
            eps=ACCUMULATOR_NORM_EPS,
        )
        self.classifier = Classifier(width=sizes.width, num_classes=sizes.num_classes)
        self.exit_blocks = submodel.exit_blocks

    def forward(self, images: Tensor) -> Tensor:
        """Turn normalised images (B, 3, H, W) into logits of all exits, (E, B, C)."""
        patches = self.patch_embed(images)
        batch, _, width = patches.shape
        tokens = torch.cat([self.cls_token.expand(batch, -1, -1), patches], 1) + self.pos_embed
        history = [self.meta_token.expand(batch, width)]
        logits = []
        for block_index, block in enumerate(self.blocks):
            tokens = block(tokens)
            raw = tokens[:, 0].clone()
            history.append(tokens[:, 0])  # a view: what overwrites it below overwrites it here
            sequence = torch.stack(history, 1) + self.depth_embedding[: len(history)]
            rows = self.accumulator(sequence)  # (B, l + 1, D)
            if block_index in self.exit_blocks:
                logits.append(self.classifier(rows[:, 0] + raw))
            tokens[:, 0] = rows[:, -1]
        return torch.stack(logits)


def plain_reefl(submodel: Submodel, arrays: Mapping[str, Tensor]) -> PlainReeFL:
    """Build the plain network from arrays named as ``Submodel.arrays`` names them."""
    plain = PlainReeFL(submodel)
    plain.load_state_dict(dict(plain_arrays(arrays)))
    return plain


def plain_arrays(arrays: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename arrays for the plain network, and cut queries, keys and values apart."""
    renamed: dict[str, Tensor] = {}
    for name, array in arrays.items():
        module, _, kind = name.rpartition(".")
        owner, _, leaf = module.rpartition(".")
        if name in ("accumulator.meta_token", "accumulator.depth_embedding"):
            renamed[kind] = array
        elif leaf == "qkv":
            prefix = f"{owner}.attn" if owner == "accumulator" else owner
            for part, rows in zip("qkv", array.chunk(3), strict=True):
                renamed[f"{prefix}.{part}.{kind}"] = rows
        elif module == "accumulator.proj":
            renamed[f"accumulator.attn.proj.{kind}"] = array
        else:
            renamed[name] = array
    return renamed


class PlainTrainer:
    """Takes steps with a stock optimiser.

    Args:
        plain: Every array requires a gradient.
        trained: Names of the arrays to change, as the plain network names them.
        learning_rate: Size of a step.
        distill_weight: What distillation counts beside the exits' own losses.
    """

    def __init__(
        self, plain: PlainReeFL, trained: set[str], *, learning_rate: float, distill_weight: float
    ) -> None:
        self.plain = plain
        self.distill_weight = distill_weight
        self.running_losses = [0.0] * len(plain.exit_blocks)
        self.parameters = [array for name, array in plain.named_parameters() if name in trained]
        self.optimizer = torch.optim.SGD(self.parameters, lr=learning_rate)

    def step(self, images: Tensor, labels: Tensor) -> None:
        """Take one step on normalised images (B, 3, H, W) and their labels (B,)."""
        self.plain.zero_grad()
        torch.autograd.backward(self._loss(self.plain(images), labels))
        nn.utils.clip_grad_value_(self.parameters, 1.0)
        self.optimizer.step()

    def _loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        losses = [functional.cross_entropy(exit_logits, labels) for exit_logits in logits]
        self.running_losses = [
            0.8 * running + 0.2 * loss.item()
            for running, loss in zip(self.running_losses, losses, strict=True)
        ]
        teacher_index = self.running_losses.index(min(self.running_losses))
        teacher = logits[teacher_index].detach().log_softmax(-1)
        total = torch.stack(losses).sum()
        for exit_index, exit_logits in enumerate(logits):
            if exit_index != teacher_index:
                student = exit_logits.log_softmax(-1)
                total = total + self.distill_weight * functional.kl_div(
                    student, teacher, reduction="batchmean", log_target=True
                )
        return total

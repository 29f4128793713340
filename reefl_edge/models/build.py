"""How does the description of a sub-model become a network?

The one place that unpacks sizes and turns a regime into modules; these take flat arguments.
"""

from typing import assert_never

from torch import nn

from reefl_edge.architectures import named_submodel
from reefl_edge.models.accumulator import Accumulator
from reefl_edge.models.adapted import (
    SSFMLP,
    LoRAAttention,
    ParallelBlock,
    SerialBlock,
    SSFAttention,
    SSFBlock,
    SSFClassifier,
    SSFPatchEmbed,
)
from reefl_edge.models.reefl import Classifier, ReeFL
from reefl_edge.models.vit import MLP, Attention, Block, PatchEmbed
from reefl_edge.submodel import Architecture, Regime, Submodel

# Standard deviation of the truncated normal that the released code starts every weight from.
INITIAL_STD = 0.02


def build(submodel: Submodel) -> ReeFL:
    """Build the network that ``submodel`` describes, with random weights.

    Weights come from torch's global generator: set ``torch.manual_seed`` for the same ones again.
    Arrays that the regime does not train have ``requires_grad`` off.
    """
    architecture = submodel.architecture
    network = ReeFL(
        width=architecture.width,
        num_tokens=architecture.num_tokens,
        patch_embed=_patch_embed(architecture, submodel.regime),
        blocks=[_block(architecture, submodel.regime) for _ in range(submodel.depth)],
        accumulator=Accumulator(
            width=architecture.width,
            num_blocks=architecture.num_blocks,
            attention_width=architecture.accumulator_width,
            num_heads=architecture.accumulator_heads,
            mlp_width=architecture.accumulator_mlp_width,
        ),
        classifier=_classifier(architecture, submodel.regime),
        exit_blocks=submodel.exit_blocks,
        submodel=submodel,
    )
    _initialise(network)
    trained = {spec.name for spec in submodel.trained_arrays()}
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name in trained)
    return network


def _block(architecture: Architecture, regime: Regime) -> nn.Module:
    """Build a block with the regime's adapters."""
    width, num_heads = architecture.width, architecture.num_heads
    mlp_width = architecture.mlp_width
    match regime:
        case "full" | "frozen":
            return Block(width, Attention(width, num_heads), MLP(width, mlp_width))
        case "lora":
            return Block(width, LoRAAttention(width, num_heads), MLP(width, mlp_width))
        case "parallel-adapter":
            return ParallelBlock(width, Attention(width, num_heads), MLP(width, mlp_width))
        case "serial-adapter":
            return SerialBlock(width, Attention(width, num_heads), MLP(width, mlp_width))
        case "ssf":
            return SSFBlock(width, SSFAttention(width, num_heads), SSFMLP(width, mlp_width))
        case _:
            assert_never(regime)


def _patch_embed(architecture: Architecture, regime: Regime) -> nn.Module:
    kind = SSFPatchEmbed if regime == "ssf" else PatchEmbed
    return kind(width=architecture.width, patch_size=architecture.patch_size)


def _classifier(architecture: Architecture, regime: Regime) -> nn.Module:
    kind = SSFClassifier if regime == "ssf" else Classifier
    return kind(width=architecture.width, num_classes=architecture.num_classes)


def build_model(
    name: str,
    *,
    num_classes: int,
    num_exits: int = 4,
    max_exit: int | None = None,
    regime: Regime = "full",
    image_size: int | None = None,
) -> ReeFL:
    """Build a named architecture with random weights.

    Args:
        name: One of ``reefl_edge.architectures.ARCHITECTURES``, such as ``deit_small``.
        num_classes: Classes, C.
        num_exits: Exits of the whole network, evenly spaced, E.
        max_exit: The deepest exit to keep, 0-based; None for all.
        regime: Which arrays are trained.
        image_size: Edge of the square image in pixels; None for the architecture's own.

    Raises:
        ValueError: The name is unknown, or the sizes do not fit together.
    """
    return build(
        named_submodel(
            name,
            num_classes=num_classes,
            num_exits=num_exits,
            max_exit=max_exit,
            regime=regime,
            image_size=image_size,
        )
    )


def _initialise(network: ReeFL) -> None:
    """Start as the released code does: truncated normal, zero biases, norms at one and zero.

    That includes the bottleneck adapters; LoRA and SSF have drawn theirs in their constructors.
    """
    embeddings = (
        network.cls_token,
        network.pos_embed,
        network.accumulator.meta_token,
        network.accumulator.depth_embedding,
    )
    for embedding in embeddings:
        nn.init.trunc_normal_(embedding, std=INITIAL_STD)
    for module in network.modules():
        if isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=INITIAL_STD)
            nn.init.zeros_(module.bias)

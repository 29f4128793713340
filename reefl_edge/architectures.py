"""Which architectures have a name, and what do they measure?

Sources: DeiT, Touvron et al. 2021, table 1; normalisation of ImageNet as in the DeiT release. The
``digits`` network is ours, for the 8 x 8 digits of scikit-learn enlarged to 32 x 32.
"""

from dataclasses import replace

from reefl_edge.names import parse_name
from reefl_edge.submodel import Architecture, ExitSchedule, Regime, Submodel

# Of each channel, of pixels scaled to [0, 1].
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def _deit(*, width: int, num_heads: int) -> Architecture:
    return Architecture(
        width=width,
        num_heads=num_heads,
        num_blocks=12,
        patch_size=16,
        image_size=224,
        num_classes=1000,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
    )


ARCHITECTURES = {
    "deit_tiny": _deit(width=192, num_heads=3),
    "deit_small": _deit(width=384, num_heads=6),
    "deit_base": _deit(width=768, num_heads=12),
    "digits": Architecture(
        width=64,
        num_heads=4,
        num_blocks=8,
        patch_size=8,
        image_size=32,
        num_classes=10,
        mean=(0.306, 0.306, 0.306),
        std=(0.324, 0.324, 0.324),
    ),
}


def named_submodel(
    name: str,
    *,
    num_classes: int | None = None,
    num_exits: int = 4,
    max_exit: int | None = None,
    regime: Regime = "full",
    image_size: int | None = None,
) -> Submodel:
    """Describe a sub-model of a named architecture.

    Args:
        name: One of ``ARCHITECTURES``.
        num_classes: Classes; None for the architecture's own number.
        num_exits: Exits, evenly spaced over the blocks.
        max_exit: The deepest exit to keep, 0-based; None for all.
        regime: Which arrays are trained.
        image_size: Edge of the square image in pixels; None for the architecture's own.

    Raises:
        ValueError: The name is unknown, or the sizes do not fit together.
    """
    own = ARCHITECTURES[parse_name(name, ARCHITECTURES, kind="architecture")]
    architecture = replace(
        own,
        num_classes=own.num_classes if num_classes is None else num_classes,
        image_size=own.image_size if image_size is None else image_size,
    )
    schedule = ExitSchedule.evenly_spaced(num_blocks=architecture.num_blocks, num_exits=num_exits)
    return Submodel(
        architecture=architecture,
        schedule=schedule,
        max_exit=schedule.num_exits - 1 if max_exit is None else max_exit,
        regime=regime,
    )

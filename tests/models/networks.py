"""Networks whose every array matters: as deep as DeiT, narrow, and nothing in them near zero."""

import torch
from torch import Tensor

from reefl_edge.submodel import Architecture, ExitSchedule, Regime, Submodel

NARROW = Architecture(
    width=32,
    num_heads=4,
    num_blocks=12,
    patch_size=8,
    image_size=16,
    num_classes=5,
    mean=(0.5, 0.4, 0.3),
    std=(0.2, 0.25, 0.3),
    mlp_ratio=2.0,
)


def narrow_submodel(regime: Regime, *, num_exits: int, max_exit: int) -> Submodel:
    """Return a sub-model of twelve blocks, cut at an exit."""
    schedule = ExitSchedule.evenly_spaced(num_blocks=NARROW.num_blocks, num_exits=num_exits)
    return Submodel(architecture=NARROW, schedule=schedule, max_exit=max_exit, regime=regime)


def random_arrays(submodel: Submodel, *, seed: int = 0) -> dict[str, Tensor]:
    """Draw every array, LoRA's zeros too: norms and scales around one, all others around zero."""
    generator = torch.Generator().manual_seed(seed)
    arrays = {}
    for spec in submodel.arrays():
        is_factor = spec.name.endswith(("norm.weight", "norm1.weight", "norm2.weight", ".scale"))
        noise = torch.randn(spec.shape, generator=generator)
        arrays[spec.name] = 0.1 * noise + (1.0 if is_factor else 0.0)
    return arrays


def random_batch(*, size: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return normalised images (B, 3, H, W) and labels (B,)."""
    generator = torch.Generator().manual_seed(seed)
    edge = NARROW.image_size
    images = torch.randn(size, 3, edge, edge, generator=generator)
    return images, torch.randint(NARROW.num_classes, (size,), generator=generator)

"""Sub-models that compute in no time; ``narrow`` and ``deep`` ones have as many blocks as DeiT."""

from dataclasses import replace

from reefl_edge.submodel import Architecture, ExitSchedule, Regime, Submodel

TINY_ARCHITECTURE = Architecture(
    width=16,
    num_heads=2,
    num_blocks=4,
    patch_size=8,
    image_size=16,
    num_classes=3,
    mean=(0.5, 0.4, 0.3),
    std=(0.2, 0.25, 0.3),
)


NARROW = replace(
    TINY_ARCHITECTURE, width=32, num_heads=4, num_blocks=12, num_classes=5, mlp_ratio=2.0
)


def tiny_submodel(
    *, num_blocks: int = 4, num_exits: int = 2, max_exit: int | None = None
) -> Submodel:
    """Return a sub-model that computes in no time."""
    return Submodel(
        architecture=replace(TINY_ARCHITECTURE, num_blocks=num_blocks),
        schedule=ExitSchedule.evenly_spaced(num_blocks=num_blocks, num_exits=num_exits),
        max_exit=num_exits - 1 if max_exit is None else max_exit,
    )


def deep_submodel(*, num_exits: int, max_exit: int, regime: Regime = "full") -> Submodel:
    """Return a sub-model of a tiny backbone with twelve blocks, as many as DeiT has."""
    return Submodel(
        architecture=replace(TINY_ARCHITECTURE, num_blocks=12),
        schedule=ExitSchedule.evenly_spaced(num_blocks=12, num_exits=num_exits),
        max_exit=max_exit,
        regime=regime,
    )


def narrow_submodel(regime: Regime, *, num_exits: int, max_exit: int) -> Submodel:
    """Return a sub-model of twelve blocks, cut at an exit."""
    schedule = ExitSchedule.evenly_spaced(num_blocks=NARROW.num_blocks, num_exits=num_exits)
    return Submodel(architecture=NARROW, schedule=schedule, max_exit=max_exit, regime=regime)

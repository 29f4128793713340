"""What does the caller say of a model, because its file does not?

None everywhere means: the file says it, or the default stands.
"""

from dataclasses import dataclass, replace

from reefl_edge.sizes import (
    MAX_BLOCKS,
    MAX_CLASSES,
    MAX_IMAGE_SIZE,
    MAX_WIDTH,
    check_mean,
    check_std,
    check_within,
)
from reefl_edge.submodel import ExitSchedule, Regime, Submodel

DEFAULT_NUM_EXITS = 4

Channels = tuple[float, float, float]

_LARGEST = {
    "num_classes": MAX_CLASSES,
    "num_exits": MAX_BLOCKS,
    "image_size": MAX_IMAGE_SIZE,
    "num_heads": MAX_WIDTH,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelDescription:
    """What the caller says of a model.

    Attributes:
        num_classes: Classes, C.
        num_exits: Exits of the whole network, evenly spaced.
        exit_blocks: The block each exit of the whole network reads, instead of ``num_exits``.
        max_exit: The deepest exit to keep, 0-based.
        regime: Which arrays are trained.
        image_size: Edge of the square image in pixels; the position embedding is interpolated.
        num_heads: Attention heads of a block; DeiT's are 64 wide.
        mean: Mean of each channel, of pixels scaled to [0, 1].
        std: Standard deviation of each channel.
    """

    num_classes: int | None = None
    num_exits: int | None = None
    exit_blocks: tuple[int, ...] | None = None
    max_exit: int | None = None
    regime: Regime | None = None
    image_size: int | None = None
    num_heads: int | None = None
    mean: Channels | None = None
    std: Channels | None = None

    def __post_init__(self) -> None:
        for name, largest in _LARGEST.items():
            if (value := getattr(self, name)) is not None:
                check_within(name, value, smallest=1, largest=largest)
        if self.mean is not None:
            check_mean(self.mean)
        if self.std is not None:
            check_std(self.std)
        blocks, num_exits = self.exit_blocks, self.num_exits
        if blocks is not None and num_exits is not None and len(blocks) != num_exits:
            raise ValueError(f"{num_exits} exits, but {len(blocks)} exit blocks: {blocks}")

    @property
    def has_schedule(self) -> bool:
        """The caller says where the exits are."""
        return self.num_exits is not None or self.exit_blocks is not None

    def schedule(self, *, num_blocks: int) -> ExitSchedule:
        """Return the exits of a network of ``num_blocks`` blocks.

        Raises:
            ValueError: There are more exits than blocks, or they cannot be spread evenly.
        """
        if self.exit_blocks is not None:
            schedule = ExitSchedule(self.exit_blocks)
            if schedule.blocks[-1] >= num_blocks:
                raise ValueError(
                    f"exit after block {schedule.blocks[-1]}, but the backbone has "
                    f"{num_blocks} blocks, counted from 0"
                )
            return schedule
        num_exits = DEFAULT_NUM_EXITS if self.num_exits is None else self.num_exits
        return ExitSchedule.evenly_spaced(num_blocks=num_blocks, num_exits=num_exits)

    def apply(self, submodel: Submodel, *, source: str) -> Submodel:
        """Return the sub-model of a file that says everything, cut where the caller wants.

        Raises:
            ValueError: The caller says something else than the file, or wants an exit or a regime
                that it has not.
        """
        self._check(submodel, source)
        if self.regime is not None:
            submodel = _with_regime(submodel, self.regime, source)
        return submodel if self.max_exit is None else submodel.cut(self.max_exit)

    def _check(self, submodel: Submodel, source: str) -> None:
        """Hold what the caller says to what the file says; list every difference."""
        architecture, schedule = submodel.architecture, submodel.schedule
        pairs = {
            "num_classes": (self.num_classes, architecture.num_classes),
            "num_exits": (self.num_exits, schedule.num_exits),
            "exit_blocks": (self.exit_blocks, schedule.blocks),
            "num_heads": (self.num_heads, architecture.num_heads),
            "mean": (self.mean, architecture.mean),
            "std": (self.std, architecture.std),
        }
        problems = [
            f"{name} is {stored}, not {said}"
            for name, (said, stored) in pairs.items()
            if said is not None and said != stored
        ]
        if problems:
            raise ValueError(f"{source} says otherwise: {'; '.join(problems)}")


def _with_regime(submodel: Submodel, regime: Regime, source: str) -> Submodel:
    """Return the sub-model under another regime, if that has the same arrays."""
    wanted = replace(submodel, regime=regime)
    if [spec.name for spec in wanted.arrays()] != [spec.name for spec in submodel.arrays()]:
        raise ValueError(f"{source} says otherwise: regime is {submodel.regime}, not {regime}")
    return wanted

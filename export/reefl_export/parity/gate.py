"""How far may an artifact's logits be from the network's?"""

from dataclasses import asdict, dataclass, replace
from math import inf
from typing import ClassVar, Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """What every exit of an artifact is held to; None holds it to nothing.

    Attributes:
        max_abs_error: Largest absolute difference of a logit.
        max_mean_error: Mean absolute difference of the logits, over their standard deviation.
        min_top1_agreement: Share of images that get the same class. Not held against random
            weights, whose classes nearly tie.
        min_exit_agreement: Share of images that stop at the same exit; as above.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    max_abs_error: float | None = None
    max_mean_error: float | None = None
    min_top1_agreement: float | None = None
    min_exit_agreement: float | None = None

    def __post_init__(self) -> None:
        for name in ("max_abs_error", "max_mean_error", "min_top1_agreement", "min_exit_agreement"):
            limit, most = getattr(self, name), inf if name.startswith("max") else 1
            if limit is not None and not 0 <= limit <= most:
                raise ValueError(f"{name} must be at least 0 and at most {most}, got {limit:g}")

    def replaced(self, other: Self) -> Self:
        """Return this gate with what another one holds to in the place of its own.

        >>> Gate(max_abs_error=1e-3, min_top1_agreement=0.9).replaced(Gate(max_abs_error=1e-4))
        Gate(max_abs_error=0.0001, max_mean_error=None, min_top1_agreement=0.9, \
min_exit_agreement=None)
        """
        return replace(self, **{key: at for key, at in asdict(other).items() if at is not None})

"""How far may an artifact's logits be from the network's?"""

from dataclasses import dataclass
from math import inf
from typing import ClassVar


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

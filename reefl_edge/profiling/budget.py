"""What may a device spend, on an answer, on a training step, in memory, and on a round?"""

from dataclasses import dataclass
from math import inf
from typing import Self

from reefl_edge.jobs.outcome import LARGEST
from reefl_edge.profiling.report import Report


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundBudget:
    """What a round of a federation asks of a client, and how long it waits for it.

    Attributes:
        deadline_s: From the moment the server sends until it has the update.
        examples_per_round: Examples a client trains on in a round, all epochs together.
        uplink_mbps: Megabits a second from the client to the server.
        downlink_mbps: The other way.
    """

    deadline_s: float
    examples_per_round: int
    uplink_mbps: float
    downlink_mbps: float

    def __post_init__(self) -> None:
        for name in ("deadline_s", "examples_per_round", "uplink_mbps", "downlink_mbps"):
            _check(name, getattr(self, name))


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What a device may spend; None for no limit.

    Times are held against the upper end of the 95% interval of a p90.

    Attributes:
        inference_ms: On one image.
        step_ms: On one fine-tuning step.
        memory_mib: Above the process's own level, held against the larger peak of the two.
        round: On a round of a federation.
    """

    inference_ms: float | None = None
    step_ms: float | None = None
    memory_mib: float | None = None
    round: RoundBudget | None = None

    def __post_init__(self) -> None:
        for name in ("inference_ms", "step_ms", "memory_mib"):
            limit = getattr(self, name)
            if limit is not None:
                _check(name, limit)

    @classmethod
    def relative(cls, report: Report, fraction: float) -> Self:
        """Allow a fraction of what the deepest exit's inference took, for a device that is slower.

        Time alone: a slower device does not have less memory for it, and a step costs in the same
        proportions.

        Args:
            report: What the device was taken to be like.
            fraction: How much of it may be spent, such as 0.8.

        Raises:
            ValueError: ``fraction`` is not positive, or the report measures no inference.
        """
        if not 0 < fraction < inf:
            raise ValueError(f"fraction must be positive, got {fraction:g}")
        rows = report.rows_of("inference")
        if not rows:
            raise ValueError("the report measures no inference, of which a fraction could be taken")
        return cls(inference_ms=fraction * rows[-1].summary.p90_high_ms)


def _check(name: str, limit: float) -> None:
    if not 0 < limit <= LARGEST:
        raise ValueError(f"{name} must be positive and at most {LARGEST:g}, got {limit:g}")

"""Which exit does a device reach within its budget, and why not a deeper one?

The depths are looked at from the shallowest, and the first that breaks a limit ends the search: a
deeper exit does all that a shallower one does, so one that fits where a shallower does not is a
measurement to repeat, not an exit to take.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf
from typing import Literal, NamedTuple, Self

from reefl_edge.errors import BudgetError
from reefl_edge.jobs.job import Kind
from reefl_edge.jobs.outcome import LARGEST
from reefl_edge.profiling.report import Choice, Report, Row


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What a device may spend; None for no limit.

    Attributes:
        inference_ms: On one image, held against the p90 of inference.
        step_ms: On one fine-tuning step, held against the p90 of a step.
        memory_mib: Above the process's own level, held against the larger peak of the two.
    """

    inference_ms: float | None = None
    step_ms: float | None = None
    memory_mib: float | None = None

    def __post_init__(self) -> None:
        for name in ("inference_ms", "step_ms", "memory_mib"):
            limit = getattr(self, name)
            if limit is not None and not 0 < limit <= LARGEST:
                raise ValueError(f"{name} must be positive and at most {LARGEST:g}, got {limit:g}")

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
        rows = _by_exit(report, "inference")
        if not rows:
            raise ValueError("the report measures no inference, of which a fraction could be taken")
        return cls(inference_ms=fraction * rows[max(rows)].summary.p90_ms)


class _Need(NamedTuple):
    """What one exit takes of one thing that is limited."""

    name: Literal["inference p90", "step p90", "memory"]
    amount: float
    limit: float
    unit: Literal["ms", "MiB"]

    @property
    def is_met(self) -> bool:
        return self.amount <= self.limit

    @property
    def wish(self) -> str:
        """What is asked of an exit, such as ``runs within 3 ms``."""
        match self.name:
            case "inference p90":
                verb = "runs within"
            case "step p90":
                verb = "takes a step within"
            case "memory":
                verb = "fits in"
        return f"{verb} {self.limit:g} {self.unit}"

    @property
    def amount_text(self) -> str:
        return f"{_figure(self.amount)} {self.unit}"


def choose_exit(report: Report, budget: Budget) -> Choice:
    """Pick the deepest exit inside a budget.

    Raises:
        BudgetError: The shallowest exit already breaks a limit; which, and what it needs.
        ValueError: The report lacks a row that the budget is held against, or has two of them.
    """
    inference, step = _by_exit(report, "inference"), _by_exit(report, "step")
    exits = sorted(inference.keys() | step.keys())
    chosen = broken_at = None
    reasons = []
    for exit_index in exits:
        needs = tuple(_needs(exit_index, inference.get(exit_index), step.get(exit_index), budget))
        broken = tuple(need for need in needs if not need.is_met)
        if broken and chosen is None:
            raise BudgetError(_none_fits(exit_index, broken))
        if broken:
            broken_at = exit_index if broken_at is None else broken_at
            reasons.append(_why_not(exit_index, broken))
        elif broken_at is not None:
            reasons.append(
                f"exit {exit_index} fits by its own figures, but does all that exit {broken_at} "
                "does, which does not fit: measure again"
            )
        else:
            chosen = exit_index
            reasons.append(_why(exit_index, needs))
    assert chosen is not None  # the first exit was chosen or raised
    return Choice(exit_index=chosen, reasons=tuple(reasons))


def _by_exit(report: Report, kind: Kind) -> dict[int, Row]:
    rows: dict[int, Row] = {}
    for row in report.rows_of(kind):
        if row.exit_index in rows:
            raise ValueError(
                f"the report measures the {kind} of exit {row.exit_index} on more than one runtime "
                "or number of threads; keep the rows of one"
            )
        rows[row.exit_index] = row
    return rows


def _needs(
    exit_index: int, inference: Row | None, step: Row | None, budget: Budget
) -> Iterator[_Need]:
    """Yield what an exit takes of everything the budget limits."""
    if budget.inference_ms is not None:
        if inference is None:
            raise ValueError(f"the report measures no inference up to exit {exit_index}")
        yield _Need("inference p90", inference.summary.p90_ms, budget.inference_ms, "ms")
    if budget.step_ms is not None:
        if step is None:
            raise ValueError(f"the report measures no fine-tuning step of exit {exit_index}")
        yield _Need("step p90", step.summary.p90_ms, budget.step_ms, "ms")
    if budget.memory_mib is not None:
        peaks = [row.summary.peak_above_baseline_mib for row in (inference, step) if row]
        yield _Need("memory", max(peaks), budget.memory_mib, "MiB")


def _why(exit_index: int, needs: tuple[_Need, ...]) -> str:
    if not needs:
        return f"exit {exit_index} fits: nothing is limited"
    parts = (f"{need.name} {need.amount_text} of {need.limit:g} {need.unit}" for need in needs)
    return f"exit {exit_index} fits: {', '.join(parts)}"


def _why_not(exit_index: int, broken: tuple[_Need, ...]) -> str:
    parts = (
        f"{need.name} {need.amount_text} exceeds {need.limit:g} {need.unit}" for need in broken
    )
    return f"exit {exit_index} does not fit: {', '.join(parts)}"


def _none_fits(exit_index: int, broken: tuple[_Need, ...]) -> str:
    wishes = " and ".join(need.wish for need in broken)
    amounts = " and ".join(need.amount_text for need in broken)
    return f"no exit {wishes}; exit {exit_index} needs {amounts}"


def _figure(amount: float) -> str:
    """Write a figure with four digits, whole from a thousand on.

    >>> [_figure(amount) for amount in (4.1, 61.234, 1234.5)]
    ['4.1', '61.23', '1234']
    """
    return f"{amount:.4g}" if amount < 1000 else f"{amount:.0f}"

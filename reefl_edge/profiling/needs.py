"""What does each exit take of everything that a budget limits?

Of what was predicted and not measured, the upper end of the interval counts.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import ceil
from typing import Literal

from reefl_edge.jobs.job import Kind
from reefl_edge.profiling.budget import Budget, RoundBudget
from reefl_edge.profiling.prediction import Prediction
from reefl_edge.profiling.report import Report, Row
from reefl_edge.profiling.verdict import Verdict
from reefl_edge.submodel import Submodel

Limit = Literal["inference", "step", "memory", "round"]

_FLOAT_BYTES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What an exit takes of one thing that is limited.

    Attributes:
        limit: The thing.
        amount: How much the exit takes; of a time, the most that it may well be.
        allowed: How much it may.
        unit: Of both.
        verdict: On the measurement that the amount comes from.
        reason: Why that is not valid; None if it is.
        is_predicted: The amount was not measured.
    """

    limit: Limit
    amount: float
    allowed: float
    unit: Literal["ms", "MiB", "s"]
    verdict: Verdict = "valid"
    reason: str | None = None
    is_predicted: bool = False

    @property
    def is_met(self) -> bool:
        """Whether the exit takes no more than it may."""
        return self.amount <= self.allowed


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundTime:
    """How long a round takes a client, by what it does.

    Attributes:
        download_s: The trained arrays come from the server.
        load_s: The model is loaded.
        train_s: The steps.
        upload_s: The trained arrays go to the server.
    """

    download_s: float
    load_s: float
    train_s: float
    upload_s: float

    @property
    def total_s(self) -> float:
        """One after the other."""
        return self.download_s + self.load_s + self.train_s + self.upload_s


@dataclass(frozen=True, slots=True, kw_only=True)
class ExitNeeds:
    """What one exit takes.

    Attributes:
        exit_index: The exit.
        needs: Of everything that the budget limits.
        round_time: What its round consists of; None where no round is limited.
    """

    exit_index: int
    needs: tuple[Need, ...]
    round_time: RoundTime | None = None

    @property
    def broken(self) -> tuple[Need, ...]:
        """The limits that it breaks."""
        return tuple(need for need in self.needs if not need.is_met)


def first_broken(exits: Iterable[ExitNeeds]) -> ExitNeeds | None:
    """Return the first of exits, shallowest first, that breaks a limit; None if none does."""
    return next((each for each in exits if each.broken), None)


def needs_of(report: Report, budget: Budget) -> tuple[ExitNeeds, ...]:
    """Return what every exit of a report takes, shallowest exit first.

    Where training is limited and its step was compiled, only exits that have one.

    Raises:
        ValueError: The report lacks a row that the budget is held against, or has two of them; or
            its device was emulated, and the budget limits time.
    """
    times = (budget.inference_ms, budget.step_ms, budget.round)
    is_emulated = bool(report.rows) and not report.context.is_real_hardware
    if is_emulated and any(limit is not None for limit in times):
        raise ValueError(
            f"{report.context.device} is an emulation, whose time is not the device's: limit "
            "memory, not time"
        )
    inference, step = _by_exit(report, "inference"), _by_exit(report, "step")
    exits = inference.keys() | step.keys()
    limits_training = (budget.step_ms, budget.memory_mib, budget.round) != (None, None, None)
    if limits_training and any(row.runtime != "eager" for row in step.values()):
        exits = set(step)  # a bundle's compiled step is of one depth: nothing trains another
    return tuple(
        _exit_needs(report, index, inference.get(index), step.get(index), budget)
        for index in sorted(exits)
    )


def _by_exit(report: Report, kind: Kind) -> dict[int, Row | Prediction]:
    found: list[Row | Prediction] = [*report.rows_of(kind)]
    found += (each for each in report.predictions if each.kind == kind)
    rows: dict[int, Row | Prediction] = {}
    for row in found:
        if row.exit_index in rows:
            raise ValueError(
                f"the report measures the {kind} of exit {row.exit_index} on more than one runtime "
                "or number of threads; keep the rows of one"
            )
        rows[row.exit_index] = row
    return rows


def _exit_needs(
    report: Report,
    exit_index: int,
    inference: Row | Prediction | None,
    step: Row | Prediction | None,
    budget: Budget,
) -> ExitNeeds:
    needs = [*_time_needs(exit_index, inference, step, budget)]
    if budget.memory_mib is not None:
        # Neither load nor heat changes how much memory is taken: no verdict is asked for.
        most = max((row for row in (inference, step) if row), key=_memory_mib)
        needs.append(
            Need(
                limit="memory",
                amount=_memory_mib(most),
                allowed=budget.memory_mib,
                unit="MiB",
                is_predicted=isinstance(most, Prediction),
            )
        )
    if budget.round is None:
        return ExitNeeds(exit_index=exit_index, needs=tuple(needs))
    if step is None or step.regime is None:
        what = "no fine-tuning step" if step is None else "a step of an unknown regime"
        raise ValueError(f"the report measures {what} of exit {exit_index}: a round has no time")
    if isinstance(step, Prediction):
        raise ValueError(
            f"the step of exit {exit_index} is predicted, and nothing says how long its model "
            "takes to load: a round has no time"
        )
    submodel = report.context.submodel.cut(exit_index).with_regime(step.regime)
    time = round_time(submodel, step, budget.round)
    needs.append(
        Need(
            limit="round",
            amount=time.total_s,
            allowed=budget.round.deadline_s,
            unit="s",
            verdict=step.summary.verdict,
            reason=step.summary.reason,
        )
    )
    return ExitNeeds(exit_index=exit_index, needs=tuple(needs), round_time=time)


def _memory_mib(row: Row | Prediction) -> float:
    """Return what is measured, or the most that is predicted."""
    if isinstance(row, Prediction):
        return row.memory_mib.high
    return row.summary.peak_above_baseline_mib


def _time_needs(
    exit_index: int,
    inference: Row | Prediction | None,
    step: Row | Prediction | None,
    budget: Budget,
) -> Iterator[Need]:
    limited: tuple[tuple[Limit, Row | Prediction | None, float | None, str], ...] = (
        ("inference", inference, budget.inference_ms, "no inference up to"),
        ("step", step, budget.step_ms, "no fine-tuning step of"),
    )
    for limit, row, allowed, lack in limited:
        if allowed is None:
            continue
        if row is None:
            raise ValueError(f"the report measures {lack} exit {exit_index}")
        if isinstance(row, Prediction):
            most = row.p90_ms.high
            yield Need(limit=limit, amount=most, allowed=allowed, unit="ms", is_predicted=True)
            continue
        yield Need(
            limit=limit,
            amount=row.summary.p90_high_ms,
            allowed=allowed,
            unit="ms",
            verdict=row.summary.verdict,
            reason=row.summary.reason,
        )


def round_time(submodel: Submodel, step: Row, asked: RoundBudget) -> RoundTime:
    """Return how long a round takes.

    The trained arrays travel both ways, as float32. Every step takes the upper end of the p90; the
    first, which still allocates, as long as the first run if that took longer.

    Args:
        submodel: The client's, with what it trains.
        step: What a step of it took.
        asked: What the round asks for.
    """
    num_bytes = _FLOAT_BYTES * sum(spec.num_elements for spec in submodel.trained_arrays())
    num_steps = ceil(asked.examples_per_round / step.batch_size)
    step_ms = step.summary.p90_high_ms
    train_ms = max(step.measurement.first_run_ms, step_ms) + (num_steps - 1) * step_ms
    return RoundTime(
        download_s=_transfer_s(num_bytes, asked.downlink_mbps),
        load_s=step.measurement.load_ms / 1000,
        train_s=train_ms / 1000,
        upload_s=_transfer_s(num_bytes, asked.uplink_mbps),
    )


def _transfer_s(num_bytes: int, megabits_per_s: float) -> float:
    return num_bytes * 8 / (megabits_per_s * 1e6)

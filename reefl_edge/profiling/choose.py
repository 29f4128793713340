"""Which exit does a device reach within its budget, and why not a deeper one?

The depths are looked at from the shallowest, and the first that breaks a limit ends the search: a
deeper exit does all that a shallower one does, so one that fits where a shallower does not is a
measurement to repeat, not an exit to take.

A p90 is known within an interval; a limit is held against its upper end. A choice rests on the
measurements of the exits up to the first that does not fit: they must be valid.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from reefl_edge.errors import BudgetError, MeasurementError
from reefl_edge.profiling.budget import Budget
from reefl_edge.profiling.needs import ExitNeeds, Need, first_broken, needs_of
from reefl_edge.profiling.report import Choice, Report


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """How deep a device may go.

    Attributes:
        exit_index: The deepest exit inside the budget; None if even the shallowest breaks a limit.
        exits: What every exit takes, shallowest first.
        doubts: What it rests on and is not valid, each in a sentence.
    """

    exit_index: int | None
    exits: tuple[ExitNeeds, ...]
    doubts: tuple[str, ...]

    @property
    def broken_at(self) -> ExitNeeds | None:
        """The first exit that breaks a limit; None if none does."""
        return first_broken(self.exits)


def decide(report: Report, budget: Budget) -> Decision:
    """Find the deepest exit inside a budget.

    Raises:
        ValueError: The report lacks a row that the budget is held against, or has two of them.
    """
    exits = needs_of(report, budget)
    num_fitting = next((index for index, each in enumerate(exits) if each.broken), len(exits))
    return Decision(
        exit_index=exits[num_fitting - 1].exit_index if num_fitting else None,
        exits=exits,
        doubts=tuple(_doubts(exits[: num_fitting + 1])),
    )


def choose_exit(report: Report, budget: Budget, *, accept_noisy: bool = False) -> Choice:
    """Pick the deepest exit inside a budget.

    Args:
        report: What was measured.
        budget: What may be spent.
        accept_noisy: Whether the choice may rest on measurements that are not valid.

    Raises:
        BudgetError: The shallowest exit already breaks a limit; which, and what it needs.
        MeasurementError: The choice would rest on a measurement that is not valid; which, and why.
        ValueError: The report lacks a row that the budget is held against, or has two of them.
    """
    decision = decide(report, budget)
    if not accept_noisy:
        check_doubts(decision)
    if decision.exit_index is None:
        raise BudgetError(none_fits(decision.exits[0]))
    return Choice(exit_index=decision.exit_index, reasons=reasons(decision))


def check_doubts(decision: Decision) -> None:
    """Refuse what rests on measurements that are not valid.

    Raises:
        MeasurementError: It does; on which, and why they are not.
    """
    if decision.doubts:
        num_others = len(decision.doubts) - 1
        raise MeasurementError(
            f"the choice would rest on a measurement that is not valid: {decision.doubts[0]}"
            f"{f' (and {num_others} more)' if num_others else ''}; measure again, or accept it "
            "with --accept-noisy"
        )


def reasons(decision: Decision) -> tuple[str, ...]:
    """Say of every exit why it fits or does not, shallowest first."""
    broken_at = decision.broken_at
    sentences = []
    for each in decision.exits:
        if each.broken:
            sentences.append(f"exit {each.exit_index} does not fit: {excess_text(each)}")
        elif broken_at is not None and each.exit_index > broken_at.exit_index:
            sentences.append(
                f"exit {each.exit_index} fits by its own figures, but does all that exit "
                f"{broken_at.exit_index} does, which does not fit: measure again"
            )
        else:
            sentences.append(_why(each))
    return tuple(sentences)


def excess_text(exit_needs: ExitNeeds) -> str:
    """Say which limits an exit breaks, and by how much."""
    return ", ".join(
        f"{_name(need)} {_amount(need)} exceeds {need.allowed:g} {need.unit}{_verdict(need)}"
        for need in exit_needs.broken
    )


def none_fits(shallowest: ExitNeeds) -> str:
    """Say what even the shallowest exit needs."""
    wishes = " and ".join(_wish(need) for need in shallowest.broken)
    amounts = " and ".join(_amount(need) for need in shallowest.broken)
    return f"no exit {wishes}; exit {shallowest.exit_index} needs {amounts}"


def _doubts(exits: Sequence[ExitNeeds]) -> list[str]:
    """Say which measurements of exits are not valid, each once."""
    doubts = [
        f"exit {each.exit_index}, {'step' if need.limit == 'round' else need.limit}: "
        f"{need.verdict} ({need.reason})"
        for each in exits
        for need in each.needs
        if need.verdict != "valid"
    ]
    return list(dict.fromkeys(doubts))


def _why(each: ExitNeeds) -> str:
    if not each.needs:
        return f"exit {each.exit_index} fits: nothing is limited"
    parts = (
        f"{_name(need)} {_amount(need)} of {need.allowed:g} {need.unit}{_verdict(need)}"
        for need in each.needs
    )
    return f"exit {each.exit_index} fits: {', '.join(parts)}"


def _name(need: Need) -> str:
    return f"{need.limit} p90" if need.unit == "ms" else need.limit


def _wish(need: Need) -> str:
    """Say what is asked of an exit, such as ``runs within 3 ms``."""
    match need.limit:
        case "inference":
            verb = "runs within"
        case "step":
            verb = "takes a step within"
        case "memory":
            verb = "fits in"
        case "round":
            verb = "finishes a round within"
    return f"{verb} {need.allowed:g} {need.unit}"


def _amount(need: Need) -> str:
    bound = "" if need.limit == "memory" else "up to "
    if need.is_predicted:
        bound = "predicted to be at most "
    return f"{bound}{figure(need.amount)} {need.unit}"


def _verdict(need: Need) -> str:
    return "" if need.verdict == "valid" else f" ({need.verdict})"


def figure(amount: float) -> str:
    """Write a figure with four digits, whole from a thousand on.

    >>> [figure(amount) for amount in (4.1, 61.234, 1234.5)]
    ['4.1', '61.23', '1234']
    """
    return f"{amount:.4g}" if amount < 1000 else f"{amount:.0f}"

"""How deep may each client of a fleet go?

An *assignment* is a document: what was asked, and for every device the deepest exit that meets it,
what each exit takes, and what a deeper one breaks; beside them, how it would be with other
deadlines. Each device is decided as ``profile`` decides it (``choose.py``). Whoever writes a
server reads ``devices``: ``max_exit`` by ``device``.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from reefl_edge import schema
from reefl_edge.errors import BudgetError, MeasurementError
from reefl_edge.files import regular_file, write_text
from reefl_edge.profiling.budget import Budget
from reefl_edge.profiling.choose import Decision, check_doubts, decide, excess_text, none_fits
from reefl_edge.profiling.match import check_same_model
from reefl_edge.profiling.needs import ExitNeeds
from reefl_edge.profiling.report import Report
from reefl_edge.submodel import Submodel

SCHEMA_VERSION = 1

# Other deadlines to look at, beside the one that is asked for.
_FACTORS = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 4.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceAssignment:
    """How deep one device may go.

    Attributes:
        device: Its name; for a report of ``local``, that of the report's file.
        measured_at: When its report began.
        is_real_hardware: The device itself computed, not an emulation of it.
        max_exit: The deepest exit that meets every limit; None if none does.
        exits: What every exit takes, shallowest first.
        doubts: Which measurements the decision rests on are not valid, and why.
        deeper: Of each exit beyond, which limit it breaks and by how much.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    device: str
    measured_at: str
    is_real_hardware: bool
    max_exit: int | None
    exits: tuple[ExitNeeds, ...]
    doubts: tuple[str, ...] = ()
    deeper: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        indices = [each.exit_index for each in self.exits]
        if not indices or indices != sorted(set(indices)) or indices[0] < 0:
            raise ValueError(f"{self.device} names its exits {indices}; need each once, in order")
        if self.max_exit is not None and self.max_exit not in indices:
            raise ValueError(f"{self.device} is assigned exit {self.max_exit}, which it has not")


@dataclass(frozen=True, slots=True, kw_only=True)
class WhatIf:
    """What another deadline of a round would allow.

    Attributes:
        deadline_s: The deadline.
        max_exits: The exit of each device, by its name; None if no exit meets it.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    deadline_s: float
    max_exits: dict[str, int | None]

    def num_at(self, exit_index: int | None) -> int:
        """Return how many devices would go to an exit, or to none."""
        return Counter(self.max_exits.values())[exit_index]


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """How deep each device of a fleet may go.

    Attributes:
        model: A short name of the model.
        submodel: The model, at the deepest exit that any device measured.
        budget: What was asked.
        devices: In the order of the reports.
        what_if: The same with other deadlines, the shortest first; empty where no round is limited.
        schema_version: Of this document.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    model: str
    submodel: Submodel
    budget: Budget
    devices: tuple[DeviceAssignment, ...]
    what_if: tuple[WhatIf, ...] = ()
    schema_version: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        if not 1 <= self.schema_version <= SCHEMA_VERSION:
            raise ValueError(f"no assignment has schema version {self.schema_version}")
        if not self.devices:
            raise ValueError("the assignment names no device")
        counts = Counter(each.device for each in self.devices)
        if twice := [name for name, count in counts.items() if count > 1]:
            raise ValueError(f"the assignment names {twice[0]} twice")


def assign_exits(
    reports: Mapping[str, Report], budget: Budget, *, accept_noisy: bool = False
) -> Assignment:
    """Give each device the deepest exit whose inference and training it can bear.

    Args:
        reports: One of each device, by the device's name; all of one model.
        budget: What is asked of every device.
        accept_noisy: Whether it may rest on measurements that are not valid.

    Raises:
        BudgetError: No device meets the budget, not even at its shallowest exit.
        MeasurementError: It would rest on a measurement that is not valid; of which device, and
            why.
        ValueError: There is no report, they are of different models, or one lacks a row that the
            budget is held against.
    """
    check_same_model(reports)
    decisions = {name: _decided(name, report, budget) for name, report in reports.items()}
    for name, decision in decisions.items():
        if not accept_noisy:
            _check_doubts(name, decision)
    if all(decision.exit_index is None for decision in decisions.values()):
        name, decision = next(iter(decisions.items()))
        others = f", and so for {len(decisions) - 1} more" if len(decisions) > 1 else ""
        raise BudgetError(f"{name}: {none_fits(decision.exits[0])}{others}")
    contexts = [report.context for report in reports.values()]
    return Assignment(
        model=contexts[0].model,
        submodel=max((each.submodel for each in contexts), key=lambda each: each.max_exit),
        budget=budget,
        devices=tuple(
            _device(name, reports[name], decision) for name, decision in decisions.items()
        ),
        what_if=tuple(_what_if(reports, budget)),
    )


def _decided(name: str, report: Report, budget: Budget) -> Decision:
    try:
        return decide(report, budget)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def _check_doubts(name: str, decision: Decision) -> None:
    try:
        check_doubts(decision)
    except MeasurementError as error:
        raise MeasurementError(f"{name}: {error}") from error


def _device(name: str, report: Report, decision: Decision) -> DeviceAssignment:
    return DeviceAssignment(
        device=name,
        measured_at=report.context.measured_at,
        is_real_hardware=report.context.is_real_hardware,
        max_exit=decision.exit_index,
        exits=decision.exits,
        doubts=decision.doubts,
        deeper=tuple(_deeper(each) for each in decision.exits if each.broken),
    )


def _deeper(each: ExitNeeds) -> str:
    return f"exit {each.exit_index}: {excess_text(each)}"


def _what_if(reports: Mapping[str, Report], budget: Budget) -> Sequence[WhatIf]:
    if budget.round is None:
        return ()
    asked = budget.round.deadline_s
    return [
        WhatIf(
            deadline_s=deadline_s,
            max_exits={
                name: decide(report, _with_deadline(budget, deadline_s)).exit_index
                for name, report in reports.items()
            },
        )
        for deadline_s in (round(factor * asked, 3) for factor in _FACTORS)
    ]


def _with_deadline(budget: Budget, deadline_s: float) -> Budget:
    assert budget.round is not None
    return replace(budget, round=replace(budget.round, deadline_s=deadline_s))


def write_assignment(assignment: Assignment, path: str | Path) -> None:
    """Write an assignment to a file, whole or not at all."""
    write_text(Path(path), schema.to_json(assignment, indent=2) + "\n")


def read_assignment(path: str | Path) -> Assignment:
    """Read an assignment.

    Raises:
        InputError: The file is missing, damaged, no assignment, or from a newer version.
    """
    path = Path(path)
    version = schema.schema_version_of(regular_file(path))
    schema.check_not_newer(version, source=str(path), newest=SCHEMA_VERSION)
    return schema.read_json(Assignment, path)

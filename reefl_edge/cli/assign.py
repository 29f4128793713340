"""``reefl-edge assign``: how deep may each device of a fleet go?"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reefl_edge.cli import budgets, options, render
from reefl_edge.errors import InputError

if TYPE_CHECKING:
    from reefl_edge.profiling.assignment import Assignment, DeviceAssignment
    from reefl_edge.profiling.budget import RoundBudget
    from reefl_edge.profiling.report import Report


def assign(
    reports: Annotated[list[Path], typer.Argument(help="A report of each device, by profile -o.")],
    budget_ms: budgets.InferenceMs = None,
    budget_step_ms: budgets.StepMs = None,
    budget_mib: budgets.MemoryMib = None,
    round_deadline_s: Annotated[
        float | None,
        typer.Option(
            "--round-deadline-s", help="For a round: receive, load, train, and send the update."
        ),
    ] = None,
    examples_per_round: Annotated[
        int | None,
        typer.Option("--examples-per-round", help="Examples a client trains on in a round."),
    ] = None,
    uplink_mbps: Annotated[
        float | None, typer.Option("--uplink-mbps", help="Megabits a second to the server.")
    ] = None,
    downlink_mbps: Annotated[
        float | None,
        typer.Option(
            "--downlink-mbps", help="Megabits a second from the server.  [default: as the uplink]"
        ),
    ] = None,
    accept_noisy: budgets.AcceptNoisy = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Where the assignment goes, as JSON.")
    ] = None,
    picture: Annotated[
        Path | None, typer.Option("--picture", help="Where a picture of the fleet goes, as PNG.")
    ] = None,
    json: options.Json = False,
) -> None:
    """Give each device the deepest exit whose inference and training it can bear.

    Example:  reefl-edge assign reports/*.json --budget-ms 50 --round-deadline-s 120
    --examples-per-round 320 --uplink-mbps 10 -o assignment.json
    """
    from reefl_edge import schema
    from reefl_edge.profiling.assignment import assign_exits, write_assignment
    from reefl_edge.profiling.budget import Budget
    from reefl_edge.profiling.fleet_picture import draw_fleet

    options.check_output(output, *reports)
    options.check_output(picture, *reports, output, option="--picture")
    limits = budgets.budget_of(budget_ms, budget_step_ms, budget_mib)
    asked = _round(
        {
            "--round-deadline-s": round_deadline_s,
            "--examples-per-round": examples_per_round,
            "--uplink-mbps": uplink_mbps,
        },
        downlink_mbps,
    )
    if limits is None and asked is None:
        options.refuse(
            "--budget-ms",
            "nothing is limited; give it, --budget-step-ms, --budget-mib or --round-deadline-s",
        )
    budget = replace(limits or Budget(), round=asked)
    named = _named(reports)
    with options.input_errors():
        assignment = assign_exits(named, budget, accept_noisy=accept_noisy)
    if output is not None:
        write_assignment(assignment, output)
    if picture is not None:
        draw_fleet(assignment, picture)
    if json:
        render.print_json(schema.to_dict(assignment))
    else:
        _show(assignment)
    for path in (output, picture):
        if path is not None and not json:
            render.out().print(f"saved {path} ({render.size(path.stat().st_size)})")
    _suggest(assignment)


def _round(given: dict[str, float | None], downlink_mbps: float | None) -> "RoundBudget | None":
    """Return what a round asks of a device; None if no round is limited.

    Args:
        given: Deadline, examples and uplink, in this order, by their options.
        downlink_mbps: None for the uplink's.
    """
    from reefl_edge.profiling.budget import RoundBudget

    missing = [option for option, value in given.items() if value is None]
    if len(missing) == len(given):
        if downlink_mbps is not None:
            options.refuse("--downlink-mbps", "no round is limited; give --round-deadline-s, too")
        return None
    if missing:
        named = next(option for option, value in given.items() if value is not None)
        options.refuse(missing[0], f"a round takes it, too: {named} was given without")
    deadline_s, examples, uplink_mbps = (value for value in given.values() if value is not None)
    with options.usage_errors("--round-deadline-s"):
        return RoundBudget(
            deadline_s=deadline_s,
            examples_per_round=int(examples),
            uplink_mbps=uplink_mbps,
            downlink_mbps=uplink_mbps if downlink_mbps is None else downlink_mbps,
        )


def _named(paths: Sequence[Path]) -> dict[str, "Report"]:
    """Read the reports, by the name of their device; of ``local`` ones, by that of the file."""
    from reefl_edge.devices.profiles import LOCAL_DEVICE
    from reefl_edge.profiling.report import read_report

    named: dict[str, Report] = {}
    where: dict[str, Path] = {}
    for path in paths:
        report = read_report(path)
        device = report.context.device
        name = path.stem if device == LOCAL_DEVICE else device
        if name in named:
            raise InputError(
                f"{where[name]} and {path} are both of {name}; give one report of each device"
            )
        for other, known in named.items():
            if known == report:
                raise InputError(f"{where[other]} and {path} are the same report")
        named[name], where[name] = report, path
    return named


def _show(assignment: "Assignment") -> None:
    rows = [
        (
            each.device,
            "none" if each.max_exit is None else f"exit {each.max_exit}",
            *_figures(each),
            "; ".join(each.deeper) or "nothing deeper was measured",
        )
        for each in assignment.devices
    ]
    columns = ("device", "deepest", "takes", "deeper")
    render.out().print(render.table(f"{assignment.model}: how deep", columns, rows))
    if assignment.what_if:
        exits: tuple[int | None, ...] = (None, *range(assignment.submodel.num_exits))
        render.out().print(
            render.table(
                "devices at each exit, with other deadlines",
                ("deadline s", *("none" if each is None else f"exit {each}" for each in exits)),
                [
                    (f"{what.deadline_s:g}", *(str(what.num_at(each)) for each in exits))
                    for what in assignment.what_if
                ],
            )
        )
    for each in assignment.devices:
        for doubt in each.doubts:
            render.warn(f"{each.device}, {doubt}")


def _figures(device: "DeviceAssignment") -> tuple[str]:
    """Say what the assigned exit takes, of a device that has one."""
    from reefl_edge.profiling.choose import figure

    taken = next((each for each in device.exits if each.exit_index == device.max_exit), None)
    if taken is None:
        return ("",)
    return (
        ", ".join(
            f"{need.limit} {figure(need.amount)} of {need.allowed:g} {need.unit}"
            for need in taken.needs
        ),
    )


def _suggest(assignment: "Assignment") -> None:
    deepest = max(each.max_exit for each in assignment.devices if each.max_exit is not None)
    render.next_command(
        *("reefl-edge", "export", "MODEL", "--max-exit", str(deepest), "-o", "bundle")
    )

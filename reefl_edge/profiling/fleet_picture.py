"""How does an assignment look: which device at which exit, and what keeps it there?"""

from collections.abc import Sequence
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from reefl_edge.extras import needs_extra
from reefl_edge.files import replacing_file
from reefl_edge.profiling.assignment import Assignment, DeviceAssignment, WhatIf
from reefl_edge.profiling.needs import first_broken

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DEEPEST = "as deep as measured"
_COLOURS = {
    "inference": "#6fc0cc",
    "step": "#f3c67c",
    "memory": "#9ccbb0",
    "round": "#ec8f9b",
    _DEEPEST: "#cfcfcf",
}
_SHADES = ("#e8e8e8", "#cfe8ef", "#86bbd8", "#5a92b8", "#33658a", "#274f6d", "#1b3a4b", "#0d1d26")
# More devices than this above each other leave no room for a name.
_MAX_NAMES = 10
# Of a name: characters in a line, and lines.
_LINE_LENGTH = 16
_NUM_LINES = 2


def draw_fleet(assignment: Assignment, path: Path) -> None:
    """Draw where the devices of a fleet stand, and where other deadlines put them, as a PNG.

    Raises:
        MissingToolchainError: matplotlib is not installed.
    """
    figure = figure_of(assignment)
    with replacing_file(path) as partial:
        figure.savefig(partial, format="png")


def figure_of(assignment: Assignment) -> "Figure":
    """Return the picture before it is a file; see ``draw_fleet``."""
    with needs_extra("the picture", "matplotlib", "demo"):
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    has_deadlines = bool(assignment.what_if)
    figure = Figure(figsize=(12 if has_deadlines else 7, 4.8), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    exits: list[int | None] = [*range(assignment.submodel.num_exits)]
    if any(device.max_exit is None for device in assignment.devices):
        exits.insert(0, None)
    if has_deadlines:
        fleet, deadlines = figure.subplots(1, 2, width_ratios=(3, 2))
        _draw_deadlines(deadlines, assignment.what_if, assignment.submodel.num_exits)
    else:
        fleet = figure.subplots()
    _draw_fleet(fleet, assignment.devices, exits)
    figure.suptitle(f"{assignment.model}: how deep each device may go")
    return figure


def _draw_fleet(
    axes: Any, devices: Sequence[DeviceAssignment], exits: Sequence[int | None]
) -> None:
    """Stack the devices of each exit, coloured by what keeps them from going deeper."""
    columns = [[each for each in devices if each.max_exit == exit_index] for exit_index in exits]
    tallest = max(map(len, columns))
    seen = set()
    for x, column in enumerate(columns):
        for y, device in enumerate(sorted(column, key=_binding)):
            binding = _binding(device)
            label = binding if binding not in seen else None
            seen.add(binding)
            axes.bar(
                x, 1, bottom=y, width=0.9, color=_COLOURS[binding], edgecolor="white", label=label
            )
            if tallest <= _MAX_NAMES:
                size = min(8.0, 60.0 / len(exits))
                name = "\n".join(wrap(device.device, _LINE_LENGTH)[:_NUM_LINES])
                axes.text(x, y + 0.5, name, ha="center", va="center", size=size)
    axes.set_xlim(-0.6, len(exits) - 0.4)  # also where the first and the last have no device
    axes.set_xticks(range(len(exits)), [_exit_name(exit_index) for exit_index in exits])
    axes.set_ylabel("devices")
    axes.yaxis.get_major_locator().set_params(integer=True)
    axes.set_title("Deepest exit of each device, and the limit that binds", size=11)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=5, frameon=False)


def _draw_deadlines(axes: Any, what_if: Sequence[WhatIf], num_exits: int) -> None:
    """Show how many devices would reach each exit, one column for each deadline."""
    places = range(len(what_if))
    bottom = [0] * len(what_if)
    for shade, exit_index in enumerate((None, *range(num_exits))):
        heights = [each.num_at(exit_index) for each in what_if]
        if any(heights):
            axes.bar(
                places,
                heights,
                bottom=bottom,
                color=_SHADES[shade % len(_SHADES)],
                edgecolor="white",
                label=_exit_name(exit_index),
            )
        bottom = [start + height for start, height in zip(bottom, heights, strict=True)]
    axes.set_xticks(places, [f"{each.deadline_s:g}" for each in what_if])
    axes.set_xlabel("deadline of a round (s)")
    axes.yaxis.get_major_locator().set_params(integer=True)
    axes.set_title("With other deadlines", size=11)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=5, frameon=False)


def _binding(device: DeviceAssignment) -> str:
    """Name the limit that is broken by most, of the first exit that breaks one."""
    first = first_broken(device.exits)
    if first is None:
        return _DEEPEST
    return max(first.broken, key=lambda need: need.amount / need.allowed).limit


def _exit_name(exit_index: int | None) -> str:
    return "no exit" if exit_index is None else f"exit {exit_index}"

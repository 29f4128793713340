"""What does a federation look like?

How right each exit is, round by round; and how the clients of each depth learned, those that go
deep in another colour than those that do not.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from reefl_edge.extras import needs_extra
from reefl_edge.federation.report import FederationReport
from reefl_edge.files import replacing_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SHALLOWEST, _DEEPEST = 0.85, 0.0  # ends of the colour map: light to dark
_LEFT_OUT = "#d1495b"


def draw_federation(report: FederationReport, path: Path) -> None:
    """Draw the rounds of a federation, as a PNG.

    Raises:
        MissingToolchainError: matplotlib is not installed.
    """
    figure = figure_of(report)
    with replacing_file(path) as partial:
        figure.savefig(partial, format="png")


def figure_of(report: FederationReport) -> "Figure":
    """Return the picture before it is a file; see ``draw_federation``."""
    with needs_extra("the picture", "matplotlib", "demo"):
        from matplotlib import colormaps
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from matplotlib.ticker import MaxNLocator
    figure = Figure(figsize=(9, 8), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    num_exits = report.submodel.num_exits
    step = (_DEEPEST - _SHALLOWEST) / max(num_exits - 1, 1)
    colours = [colormaps["viridis"](_SHALLOWEST + step * each) for each in range(num_exits)]
    above, below = figure.subplots(2, 1, sharex=True)
    _draw_accuracy(above, report, colours)
    _draw_clients(below, report, colours)
    below.set_xlabel("round")
    below.xaxis.set_major_locator(MaxNLocator(integer=True))
    for axes in (above, below):
        axes.grid(alpha=0.3)
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
    return figure


def _draw_accuracy(axes: Any, report: FederationReport, colours: list[Any]) -> None:
    evaluated = [
        (each.server_round, each.evaluation.accuracy)
        for each in report.rounds
        if each.evaluation is not None
    ]
    for exit_index in reversed(range(len(colours))):  # in the legend, too, the deepest on top
        axes.plot(
            [server_round for server_round, _ in evaluated],
            [100 * accuracy[exit_index] for _, accuracy in evaluated],
            "o-",
            color=colours[exit_index],
            markersize=4,
            label=f"exit {exit_index}",
        )
    axes.set_title("Accuracy of each exit")
    axes.set_ylabel("accuracy (%)")


def _draw_clients(axes: Any, report: FederationReport, colours: list[Any]) -> None:
    """Draw the loss of every client as a dot, and the mean of each depth as a line."""
    for max_exit in reversed(range(len(colours))):
        names, losses = _of_depth(report, max_exit)
        if not names:
            continue
        colour = colours[max_exit]
        dots = [(each, loss) for each, found in losses.items() for loss in found]
        axes.plot(*zip(*dots, strict=True), ".", color=colour, alpha=0.4)
        means = [sum(found) / len(found) for found in losses.values()]
        clients = "1 client" if len(names) == 1 else f"{len(names)} clients"
        axes.plot([*losses], means, color=colour, label=f"to exit {max_exit}: {clients}")
    if left_out := [each.server_round for each in report.rounds if each.left_out]:
        at_the_bottom = axes.get_xaxis_transform()
        heights = [0.03] * len(left_out)
        style = {"color": _LEFT_OUT, "transform": at_the_bottom, "label": "somebody left out"}
        axes.plot(left_out, heights, "x", **style)
    axes.set_title("Training loss of the clients of each depth, over its exits")
    axes.set_ylabel("loss of an exit")


def _of_depth(report: FederationReport, max_exit: int) -> tuple[set[str], dict[int, list[float]]]:
    """Return who of a depth took part, and their losses by round."""
    names: set[str] = set()
    losses: dict[int, list[float]] = {}
    for record in report.rounds:
        for each in record.counted:
            if each.max_exit == max_exit and each.loss is not None:
                names.add(each.client)
                losses.setdefault(record.server_round, []).append(each.loss / (max_exit + 1))
    return names, losses

"""What does the trade of accuracy for latency look like?"""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reefl_edge.demo.labels import Box, Point, along, grouped, place_labels
from reefl_edge.demo.measure import Curve
from reefl_edge.demo.measure import Point as MeasuredPoint
from reefl_edge.extras import needs_extra
from reefl_edge.files import replacing_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_TITLES = {"executorch": "ExecuTorch", "onnx": "ONNX Runtime"}
_COLOURS = {"executorch": "#d1495b", "onnx": "#00798c"}
# In points, as matplotlib counts: the size of a label, and how wide a dot of a curve is, and the
# square for the deepest exit.
_LABEL_SIZE = 8
_DOT = 7
_SQUARE = 11
# On which side of its points a curve's labels are wanted: above and to the left of the first,
# below and to the right of the second, since the two lie close together.
_SIDES = (0.7 * math.pi, -0.3 * math.pi)
_SHADES = ("#cfe8ef", "#86bbd8", "#33658a", "#1b3a4b")


def draw(curves: tuple[Curve, ...], path: Path) -> None:
    """Draw accuracy against latency, and where the examples stop, as a PNG.

    Raises:
        MissingToolchainError: matplotlib is not installed.
    """
    figure = figure_of(curves)
    with replacing_file(path) as partial:
        figure.savefig(partial, format="png")


def figure_of(curves: tuple[Curve, ...]) -> "Figure":
    """Return the picture before it is a file; see ``draw``."""
    with needs_extra("the picture", "matplotlib", "demo"):
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    figure = Figure(figsize=(11, 4.6), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    trade, shares = figure.subplots(1, 2, width_ratios=(3, 2))
    _draw_trade(trade, curves)
    _draw_shares(shares, curves[0])
    figure.suptitle(
        f"Stopping early: {curves[0].num_examples} handwritten digits, one at a time, this machine"
    )
    _label(trade, curves)
    return figure


def _draw_trade(axes: Any, curves: tuple[Curve, ...]) -> None:
    for curve in curves:
        colour = _COLOURS[curve.runtime]
        latencies, accuracies = zip(*_points(curve), strict=True)
        axes.plot(latencies, accuracies, "o-", color=colour, label=_TITLES[curve.runtime])
        deepest = curve.deepest
        axes.plot(
            deepest.mean_latency_ms, 100 * deepest.accuracy, "s", color=colour, markersize=_SQUARE
        )
    axes.set_xlim(left=0)
    axes.set_xlabel("mean latency of one image (ms)")
    axes.set_ylabel("accuracy (%)")
    axes.set_title("Accuracy against latency, by confidence threshold", size=11)
    axes.grid(alpha=0.3)
    axes.margins(y=0.25)
    axes.legend(loc="lower right")


def _points(curve: Curve) -> list[Point]:
    """Return where the points of a curve lie: milliseconds and percent."""
    return [(point.mean_latency_ms, 100 * point.accuracy) for point in curve.points]


def _label(axes: Any, curves: tuple[Curve, ...]) -> None:
    """Write the thresholds beside their points, once everything else has found its place."""
    figure = axes.get_figure()
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    dot, square = (size * figure.dpi / 72 for size in (_DOT, _SQUARE))
    labels, obstacles = [], [Box(*axes.get_legend().get_window_extent().extents)]
    for curve, side in zip(curves, _SIDES, strict=False):
        drawn = [(float(x), float(y)) for x, y in axes.transData.transform(_points(curve))]
        obstacles += along(drawn, thickness=dot / 3)
        obstacles += [Box.around(point, dot, dot) for point in drawn]
        obstacles.append(Box.around(drawn[-1], square, square))  # never early, the last
        for group in grouped(drawn, distance=square):
            text = ", ".join(_name(curve.points[index]) for index in group)
            labels.append((drawn[group[0]], text, side, _COLOURS[curve.runtime]))
    points, texts, sides, colours = zip(*labels, strict=True)
    places = place_labels(
        points,
        [_size(axes, text) for text in texts],
        sides,
        obstacles,
        Box(*axes.get_window_extent().extents),
    )
    for point, text, colour, place in zip(points, texts, colours, places, strict=True):
        _annotate(axes, text, point, place.centre, colour)


def _annotate(axes: Any, text: str, point: Point, centre: Point, colour: str) -> None:
    """Write a text around ``centre``, with a thin line to its point."""
    axes.annotate(
        text,
        axes.transData.inverted().transform(point),
        centre,
        textcoords="figure pixels",
        ha="center",
        va="center",
        size=_LABEL_SIZE,
        color=colour,
        arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.5, "alpha": 0.6},
    )


def _size(axes: Any, text: str) -> tuple[float, float]:
    """Measure a label, in pixels."""
    written = axes.text(0, 0, text, size=_LABEL_SIZE)
    extent = written.get_window_extent()
    written.remove()
    return extent.width, extent.height


def _name(point: MeasuredPoint) -> str:
    return "never early" if point.threshold == 1 else f"{point.threshold:g}"


def _draw_shares(axes: Any, curve: Curve) -> None:
    rows = range(len(curve.points))
    left = [0.0] * len(curve.points)
    for exit_index in range(len(curve.points[0].exit_shares)):
        widths = [100 * point.exit_shares[exit_index] for point in curve.points]
        axes.barh(rows, widths, left=left, color=_SHADES[exit_index], label=f"exit {exit_index}")
        left = [start + width for start, width in zip(left, widths, strict=True)]
    axes.set_yticks(rows, [_name(point) for point in curve.points])
    axes.set_xlim(0, 100)
    axes.set_xlabel("share of images that stop at each exit (%)")
    axes.set_ylabel("threshold")
    axes.set_title("Where the images stop", size=11)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=4, frameon=False)

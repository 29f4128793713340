"""What does the trade of accuracy for latency look like?"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from reefl_edge.demo.measure import Curve
from reefl_edge.extras import needs_extra
from reefl_edge.files import replacing_file
from reefl_edge.pictures.curves import DrawnCurve, draw_curves, label_curves, threshold_name

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_TITLES = {"executorch": "ExecuTorch", "onnx": "ONNX Runtime"}
_COLOURS = {"executorch": "#d1495b", "onnx": "#00798c"}
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
    drawn = [_drawn(curve) for curve in curves]
    draw_curves(trade, drawn)
    trade.set_title("Accuracy against latency, by confidence threshold", size=11)
    _draw_shares(shares, curves[0])
    figure.suptitle(
        f"Stopping early: {curves[0].num_examples} handwritten digits, one at a time, this machine"
    )
    label_curves(trade, drawn)
    return figure


def _drawn(curve: Curve) -> DrawnCurve:
    return DrawnCurve(
        title=_TITLES[curve.runtime],
        colour=_COLOURS[curve.runtime],
        points=[(point.mean_latency_ms, 100 * point.accuracy) for point in curve.points],
        names=[threshold_name(point.threshold) for point in curve.points],
    )


def _draw_shares(axes: Any, curve: Curve) -> None:
    rows = range(len(curve.points))
    left = [0.0] * len(curve.points)
    for exit_index in range(len(curve.points[0].exit_shares)):
        widths = [100 * point.exit_shares[exit_index] for point in curve.points]
        axes.barh(rows, widths, left=left, color=_SHADES[exit_index], label=f"exit {exit_index}")
        left = [start + width for start, width in zip(left, widths, strict=True)]
    axes.set_yticks(rows, [threshold_name(point.threshold) for point in curve.points])
    axes.set_xlim(0, 100)
    axes.set_xlabel("share of images that stop at each exit (%)")
    axes.set_ylabel("threshold")
    axes.set_title("Where the images stop", size=11)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=4, frameon=False)

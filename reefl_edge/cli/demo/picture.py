"""What does the trade of accuracy for latency look like?"""

from pathlib import Path
from typing import Any

from reefl_edge.cli.demo.measure import Curve
from reefl_edge.extras import needs_extra
from reefl_edge.files import replacing_file

_TITLES = {"executorch": "ExecuTorch", "onnx": "ONNX Runtime"}
_COLOURS = {"executorch": "#d1495b", "onnx": "#00798c"}
# Above the first curve, below the second: the two lie close together.
_LABEL_OFFSETS = ((-8, 9), (8, -16))
_SHADES = ("#cfe8ef", "#86bbd8", "#33658a", "#1b3a4b")


def draw(curves: tuple[Curve, ...], path: Path) -> None:
    """Draw accuracy against latency, and where the examples stop, as a PNG.

    Raises:
        MissingToolchainError: matplotlib is not installed.
    """
    with needs_extra("the picture", "matplotlib", "demo"):
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    figure = Figure(figsize=(11, 4.6), layout="constrained")
    FigureCanvasAgg(figure)
    trade, shares = figure.subplots(1, 2, width_ratios=(3, 2))
    _draw_trade(trade, curves)
    _draw_shares(shares, curves[0])
    figure.suptitle(
        f"Stopping early: {curves[0].num_examples} handwritten digits, one at a time, this machine"
    )
    with replacing_file(path) as partial:
        figure.savefig(partial, format="png", dpi=150)


def _draw_trade(axes: Any, curves: tuple[Curve, ...]) -> None:
    for curve, label_offset in zip(curves, _LABEL_OFFSETS, strict=False):
        colour = _COLOURS[curve.runtime]
        latencies = [point.mean_latency_ms for point in curve.points]
        accuracies = [100 * point.accuracy for point in curve.points]
        axes.plot(latencies, accuracies, "o-", color=colour, label=_TITLES[curve.runtime])
        deepest = curve.deepest
        axes.plot(deepest.mean_latency_ms, 100 * deepest.accuracy, "s", color=colour, markersize=11)
        for point, latency, share in zip(curve.points, latencies, accuracies, strict=True):
            label = "deepest" if point.threshold == 1 else f"{point.threshold:g}"
            axes.annotate(
                label,
                (latency, share),
                label_offset,
                textcoords="offset points",
                ha="center",
                size=8,
                color=colour,
            )
    axes.set_xlim(left=0)
    axes.set_xlabel("mean latency of one image (ms)")
    axes.set_ylabel("accuracy (%)")
    axes.set_title("Accuracy against latency, by confidence threshold", size=11)
    axes.grid(alpha=0.3)
    axes.margins(y=0.15)
    axes.legend(loc="lower right")


def _draw_shares(axes: Any, curve: Curve) -> None:
    rows = range(len(curve.points))
    left = [0.0] * len(curve.points)
    for exit_index in range(len(curve.points[0].exit_shares)):
        widths = [100 * point.exit_shares[exit_index] for point in curve.points]
        axes.barh(rows, widths, left=left, color=_SHADES[exit_index], label=f"exit {exit_index}")
        left = [start + width for start, width in zip(left, widths, strict=True)]
    labels = ["never early" if p.threshold == 1 else f"{p.threshold:g}" for p in curve.points]
    axes.set_yticks(rows, labels)
    axes.set_xlim(0, 100)
    axes.set_xlabel("share of images that stop at each exit (%)")
    axes.set_ylabel("threshold")
    axes.set_title("Where the images stop", size=11)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=4, frameon=False)

"""How are curves of accuracy against latency drawn, so that each point's label can be read?"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from reefl_edge.pictures.labels import Box, Point, along, grouped, place_labels

# In points, as matplotlib counts: the size of a label, and how wide a dot of a curve is, and the
# square for the deepest exit.
_LABEL_SIZE = 8
_DOT = 7
_SQUARE = 11
# On which side of its points a curve's labels are wanted: above and to the left of the first,
# below and to the right of the second, since the two lie close together.
_SIDES = (0.7 * math.pi, -0.3 * math.pi)


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnCurve:
    """A curve from the quickest point to the one that never stops early, which gets a square.

    Attributes:
        title: What it is of.
        colour: As matplotlib takes it.
        points: Milliseconds and percent.
        names: What stands beside each point.
    """

    title: str
    colour: str
    points: Sequence[Point]
    names: Sequence[str]


def draw_curves(axes: Any, curves: Sequence[DrawnCurve]) -> None:
    """Draw accuracy against latency; ``label_curves`` writes beside the points."""
    for curve in curves:
        latencies, accuracies = zip(*curve.points, strict=True)
        axes.plot(latencies, accuracies, "o-", color=curve.colour, label=curve.title)
        x, y = curve.points[-1]
        axes.plot(x, y, "s", color=curve.colour, markersize=_SQUARE)
    axes.set_xlim(left=0)
    axes.set_xlabel("mean latency of one image (ms)")
    axes.set_ylabel("accuracy (%)")
    axes.grid(alpha=0.3)
    axes.margins(y=0.25)
    axes.legend(loc="lower right")


def label_curves(axes: Any, curves: Sequence[DrawnCurve]) -> None:
    """Write the names beside their points, once everything else has found its place."""
    figure = axes.get_figure()
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    dot, square = (size * figure.dpi / 72 for size in (_DOT, _SQUARE))
    labels, obstacles = [], [Box(*axes.get_legend().get_window_extent().extents)]
    for index, curve in enumerate(curves):
        drawn = [(float(x), float(y)) for x, y in axes.transData.transform(curve.points)]
        obstacles += along(drawn, thickness=dot / 3)
        obstacles += [Box.around(point, dot, dot) for point in drawn]
        obstacles.append(Box.around(drawn[-1], square, square))
        for group in grouped(drawn, distance=square):
            text = ", ".join(curve.names[each] for each in group)
            labels.append((drawn[group[0]], text, _SIDES[index % len(_SIDES)], curve.colour))
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


def threshold_name(threshold: float) -> str:
    """Return what stands beside the point of a threshold."""
    return "never early" if threshold == 1 else f"{threshold:g}"


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

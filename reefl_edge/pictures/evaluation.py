"""What does an evaluation look like?

What stopping early trades; whether each exit is right as often as it is sure; and which images it
finds easy or hard.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from reefl_edge.adaptive import ConfidencePolicy
from reefl_edge.confidence import confidence
from reefl_edge.extras import needs_extra
from reefl_edge.files import replacing_file
from reefl_edge.pictures.curves import DrawnCurve, draw_curves, label_curves, threshold_name
from reefl_edge.tasks.evaluating import Evaluated
from reefl_edge.thresholds.replay import replay
from reefl_edge.thresholds.temperature import Bin

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_THRESHOLDS = (0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)
_COLOURS = ("#d1495b", "#00798c", "#edae49", "#33658a", "#6a4c93")
_RAW, _TEMPERED = "#86bbd8", "#d1495b"
_NUM_SHOWN = 4
# As many exits as have room beside each other.
_MAX_COLUMNS = 6


def draw_evaluation(evaluated: Sequence[Evaluated], path: Path) -> None:
    """Draw accuracy against latency of all, and the exits of the first, as a PNG.

    Raises:
        MissingToolchainError: matplotlib is not installed.
    """
    figure = figure_of(evaluated)
    with replacing_file(path) as partial:
        figure.savefig(partial, format="png")


def figure_of(evaluated: Sequence[Evaluated]) -> "Figure":
    """Return the picture before it is a file; see ``draw_evaluation``."""
    with needs_extra("the picture", "matplotlib", "demo"):
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    first = evaluated[0]
    shown = _shown_exits(len(first.logits))
    figure = Figure(figsize=(3 + 2.6 * max(len(shown), 3), 12), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(3, len(shown), height_ratios=(4, 3, 5))
    trade = figure.add_subplot(grid[0, :])
    curves = [_curve(each, _COLOURS[index % len(_COLOURS)]) for index, each in enumerate(evaluated)]
    draw_curves(trade, curves)
    trade.set_title("Accuracy against latency, by threshold; square: never early", size=11)
    for column, exit_index in enumerate(shown):
        _draw_reliability(figure.add_subplot(grid[1, column]), first, exit_index)
        _draw_gallery(figure.add_subplot(grid[2, column]), first, exit_index)
    figure.suptitle(f"{first.evaluation.num_images} images; by exit: {_title(first)}")
    label_curves(trade, curves)
    return figure


def _shown_exits(num_exits: int) -> list[int]:
    columns = np.linspace(0, num_exits - 1, min(num_exits, _MAX_COLUMNS)).round()
    return [int(each) for each in columns]


def _title(each: Evaluated) -> str:
    return f"{Path(each.evaluation.bundle).name} {each.evaluation.artifact}"


def _curve(each: Evaluated, colour: str) -> DrawnCurve:
    """Replay common thresholds, and the bundle's own, on the times of the exits."""
    assert each.images.labels is not None  # as it was evaluated by them
    exit_ms = each.passed_ms.mean(axis=1)
    own = each.policy
    policies = [ConfidencePolicy((value,), own.measure, own.temperatures) for value in _THRESHOLDS]
    points = [
        (policy, _name(policy), replay(policy, each.logits, each.images.labels))
        for policy in policies
    ]
    if own not in policies:
        points.append((own, "this bundle", each.replay))
    placed = sorted(
        ((float(exit_ms[found.exit_indices].mean()), 100 * found.accuracy), name)
        for _, name, found in points
    )
    # The last is where it never stops early, whatever takes as long.
    placed.sort(key=lambda each: each[1] == "never early")
    return DrawnCurve(
        title=_title(each),
        colour=colour,
        points=[point for point, _ in placed],
        names=[name for _, name in placed],
    )


def _name(policy: ConfidencePolicy) -> str:
    return threshold_name(policy.thresholds[0])


def _draw_reliability(axes: Any, each: Evaluated, exit_index: int) -> None:
    figures = each.evaluation.exits[exit_index]
    axes.plot((0, 1), (0, 1), color="grey", linewidth=0.8, linestyle="--")
    _draw_bins(axes, figures.reliability, _RAW, f"as it is: {figures.calibration_error:.3f}")
    if figures.tempered_calibration_error is not None:
        said = f"tempered: {figures.tempered_calibration_error:.3f}"
        _draw_bins(axes, figures.tempered_reliability, _TEMPERED, said)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_title(f"exit {exit_index}: {figures.accuracy:.1%} right", size=10)
    axes.set_xlabel("how sure it is", size=8)
    axes.set_ylabel("how often it is right", size=8)
    axes.tick_params(labelsize=7)
    axes.legend(title="calibration error", loc="upper left", fontsize=7, title_fontsize=7)


def _draw_bins(axes: Any, bins: tuple[Bin, ...], colour: str, label: str) -> None:
    total = sum(each.num_examples for each in bins)
    axes.plot(
        [each.confidence for each in bins],
        [each.accuracy for each in bins],
        color=colour,
        label=label,
        linewidth=1,
    )
    axes.scatter(
        [each.confidence for each in bins],
        [each.accuracy for each in bins],
        s=[6 + 200 * each.num_examples / total for each in bins],
        color=colour,
        alpha=0.7,
    )


def _draw_gallery(axes: Any, each: Evaluated, exit_index: int) -> None:
    """Show the images of which an exit is surest, and least sure, in two columns."""
    sureness = confidence(each.logits[exit_index], temperature=each.policy.temperature(exit_index))
    order = np.argsort(-sureness, kind="stable")
    num_shown = min(_NUM_SHOWN, len(order))
    easiest, hardest = order[:num_shown], order[::-1][:num_shown]
    columns = np.stack([each.images.images(part) for part in (easiest, hardest)], axis=1)
    edge = columns.shape[2]
    gap = max(edge // 8, 1)
    spaced = np.pad(columns, ((0, 0), (0, 0), (0, gap), (0, gap), (0, 0)), constant_values=255)
    axes.imshow(np.concatenate([np.concatenate(list(row), axis=1) for row in spaced]))
    axes.set_xticks([edge / 2, 1.5 * edge + gap], ["easiest", "hardest"], fontsize=8)
    axes.set_yticks([])
    axes.tick_params(length=0)
    for side in axes.spines.values():
        side.set_visible(False)
    axes.set_title(f"exit {exit_index}", size=10)

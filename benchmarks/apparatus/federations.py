"""How do several federations of one model compare, exit by exit?"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from reefl_edge.files import replacing_file

# What a federation is called, by the tiers of its clients.
LABELS = {
    "round-robin": "mixed depths",
    "only-deepest": "only the deepest clients",
    "shallowest": "everybody at the shallowest",
}

Runs = Sequence[Mapping[str, Any]]


def accuracies(runs: Runs, tiers: str) -> tuple[list[int], NDArray[np.float64]]:
    """Return the rounds that were evaluated, (R,), and accuracy, (seeds, R, E)."""
    rounds: list[int] = []
    found = []
    for run in runs:
        if run["tiers"] == tiers:
            evaluated = [each for each in run["rounds"] if each["evaluation"] is not None]
            rounds = [each["server_round"] for each in evaluated]
            found.append([each["evaluation"]["accuracy"] for each in evaluated])
    return rounds, np.array(found)


def table_of(runs: Runs) -> str:
    """Render the accuracy after the last round: the mean of the seeds, and where they lie."""
    names = dict.fromkeys(run["tiers"] for run in runs)
    _, first = accuracies(runs, next(iter(names)))
    columns = [
        "clients, accuracy in %",
        *(f"exit {each}" for each in range(first.shape[2])),
        "mean",
    ]
    lines = [columns, ["---"] * len(columns)]
    for tiers in names:
        last = 100 * accuracies(runs, tiers)[1][:, -1]  # (seeds, E)
        last = np.column_stack([last, last.mean(1)])
        lines.append(
            [
                LABELS[tiers],
                *(f"{each.mean():.1f} ({each.min():.1f} to {each.max():.1f})" for each in last.T),
            ]
        )
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def draw(runs: Runs, path: Path) -> None:
    """Draw accuracy over rounds, a panel per exit: the mean of the seeds, and where they lie."""
    names = dict.fromkeys(run["tiers"] for run in runs)
    _, first = accuracies(runs, next(iter(names)))
    num_exits = first.shape[2]
    figure = Figure(figsize=(3 * num_exits, 3.6), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, num_exits, sharey=True, squeeze=False)[0]
    for exit_index, axes in enumerate(panels):
        for colour, tiers in zip(("#1f6f8b", "#d1495b", "#8a8a8a"), names, strict=False):
            rounds, shares = accuracies(runs, tiers)
            percent = 100 * shares[:, :, exit_index]
            axes.plot(
                rounds, percent.mean(0), "o-", color=colour, markersize=3, label=LABELS[tiers]
            )
            axes.fill_between(rounds, percent.min(0), percent.max(0), color=colour, alpha=0.15)
        axes.set_title(f"exit {exit_index}")
        axes.set_xlabel("round")
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("test accuracy (%)")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    with replacing_file(path) as partial:
        figure.savefig(partial, format="png")

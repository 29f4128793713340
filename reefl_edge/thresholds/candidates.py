"""Which thresholds are tried, and in which order?

A *ladder* goes from thresholds that hardly stop anything early to ones that stop nearly everything;
on the way down time is saved, and answers get worse. One number for all exits has the same ladder
for everybody. One per exit has a ladder that is found on examples: at each step the one exit is
made less strict that saves the most time for what it costs, seen on those examples. What is found
there must be certified on others.

Letters: T candidates, E exits, N examples.
"""

import numpy as np
from numpy.typing import NDArray

from reefl_edge.thresholds.exits import ExitAnswers

Ladder = NDArray[np.float64]

# Finer where networks are surest. A few are nearly 1: of a network that is often right, most
# confidences are.
RUNGS: NDArray[np.float64] = np.array(
    [
        *(0.9999, 0.9998, 0.9995, 0.999, 0.998, 0.997, 0.996),
        *np.round(np.arange(0.995, 0.9, -0.005), 4),
        *np.round(np.arange(0.9, 0.005, -0.01), 4),
    ]
)
# What a loss that was not seen counts as, in examples: nothing is free because few were looked at.
_UNSEEN_LOSS = 0.5


def common_ladder(num_exits: int) -> Ladder:
    """Return one number for all exits but the last, from the strictest down, (T, E - 1)."""
    return np.repeat(RUNGS[:, None], num_exits - 1, axis=1)


def exit_ladder(answers: ExitAnswers, losses: NDArray[np.float64]) -> Ladder:
    """Find thresholds per exit, from the strictest down, on examples.

    Args:
        answers: What the exits say of them.
        losses: What stopping at each exit costs, (E, N).

    Returns:
        Rising in time saved, (T, E - 1).
    """
    num_stops = answers.num_exits - 1
    # Which rung of the ladder each exit stands on; -1 is never to stop there.
    rungs = np.full(num_stops, -1)
    # The first rung on which each exit would stop each example, (E - 1, N).
    # As float32, in which confidences are compared.
    reached = np.searchsorted(-RUNGS.astype(np.float32), -answers.confidences, side="left")
    ladder = []
    while (step := _best_step(answers, losses, reached, rungs)) is not None:
        exit_index, rung = step
        # Rung by rung, so that a certificate that ends half-way still has something.
        for each in range(rungs[exit_index] + 1, rung + 1):
            rungs[exit_index] = each
            ladder.append(_thresholds(rungs))
    return np.array(ladder).reshape(-1, num_stops)


def _best_step(
    answers: ExitAnswers,
    losses: NDArray[np.float64],
    reached: NDArray[np.int64],
    rungs: NDArray[np.int64],
) -> tuple[int, int] | None:
    """Return which exit goes down to which rung next; None once all have come to the last.

    Of all that could be done, it is what costs the least for each millisecond that it saves.
    """
    taken = _taken(reached, rungs)
    columns = np.arange(answers.num_examples)
    now_ms, now_losses = answers.exit_ms[taken], losses[taken, columns]
    best: tuple[float, int, int] | None = None
    for exit_index, rung in enumerate(rungs):
        if rung == len(RUNGS) - 1:
            continue
        # Those that come by this exit, by the rung on which it would stop them.
        passing = (taken > exit_index) & (reached[exit_index] < len(RUNGS))
        at_rung = reached[exit_index, passing]
        saved_ms = now_ms[passing] - answers.exit_ms[exit_index]
        lost = losses[exit_index, passing] - now_losses[passing]
        saved = np.bincount(at_rung, saved_ms, len(RUNGS)).cumsum()
        cost = np.bincount(at_rung, lost, len(RUNGS)).cumsum() + _UNSEEN_LOSS
        saved[: rung + 1] = 0
        if not saved.any():
            continue
        with np.errstate(divide="ignore"):
            prices = np.where(saved > 0, cost / saved, np.inf)
        cheapest = int(prices.argmin())
        if best is None or prices[cheapest] < best[0]:
            best = (float(prices[cheapest]), exit_index, cheapest)
    return None if best is None else best[1:]


def _taken(reached: NDArray[np.int64], rungs: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return where each example stops, (N,)."""
    taken = np.full(reached.shape[1], len(rungs))
    for exit_index in reversed(range(len(rungs))):
        taken[reached[exit_index] <= rungs[exit_index]] = exit_index
    return taken


def _thresholds(rungs: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the thresholds of rungs; 1 for never."""
    return np.where(rungs < 0, 1.0, RUNGS[rungs])

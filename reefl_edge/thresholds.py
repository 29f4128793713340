"""Which confidence threshold should a bundle stop at, and what does it cost in accuracy?

A threshold is chosen on validation examples: the lowest one that keeps the accuracy of always
running to the deepest exit, up to a drop the user allows.

Letters: E exits, N examples, C classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reefl_edge.adaptive import ConfidencePolicy
from reefl_edge.bootstrap import mean_interval

CANDIDATES = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)


@dataclass(frozen=True, slots=True, eq=False)
class Replay:
    """What a policy makes of a set of examples.

    Attributes:
        exit_indices: Where each example stopped, (N,).
        correct: Whether it was classified correctly there, (N,).
    """

    exit_indices: NDArray[np.int64]
    correct: NDArray[np.bool_]

    @property
    def accuracy(self) -> float:
        """Share of correct examples."""
        return float(self.correct.mean())

    def exit_shares(self, num_exits: int) -> tuple[float, ...]:
        """Share of examples that stop at each exit."""
        counts = np.bincount(self.exit_indices, minlength=num_exits)
        return tuple(float(count) / len(self.exit_indices) for count in counts)


def replay(
    policy: ConfidencePolicy, logits: NDArray[np.float32], labels: NDArray[np.int64]
) -> Replay:
    """Tell where a policy stops each example, from the logits of all exits (E, N, C)."""
    exit_indices = exits_taken(policy, logits)
    final = logits[exit_indices, np.arange(len(exit_indices))]
    return Replay(exit_indices, final.argmax(axis=-1) == labels)


def exits_taken(policy: ConfidencePolicy, logits: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return the exit at which a policy stops each example, (N,), from logits (E, N, C)."""
    num_exits, num_examples, _ = logits.shape
    exit_indices = np.full(num_examples, num_exits - 1)
    for exit_index in reversed(range(num_exits - 1)):
        exit_indices[policy.stops(logits[exit_index], exit_index)] = exit_index
    return exit_indices


def choose_threshold(
    logits: NDArray[np.float32],
    labels: NDArray[np.int64],
    *,
    max_accuracy_drop: float = 0.0,
    candidates: Sequence[float] = CANDIDATES,
) -> float:
    """Return the lowest threshold that costs no more accuracy than allowed.

    Args:
        logits: Logits of all exits on validation examples, (E, N, C).
        labels: Their classes, (N,).
        max_accuracy_drop: What the threshold may cost against the deepest exit, as a share.
        candidates: The thresholds to choose from; 1 (never early) always holds.

    Raises:
        ValueError: There are no examples.
    """
    if not len(labels):
        raise ValueError("a threshold cannot be chosen without validation examples")
    floor = replay(ConfidencePolicy((1.0,)), logits, labels).accuracy - max_accuracy_drop
    for threshold in sorted(candidates):
        if replay(ConfidencePolicy((threshold,)), logits, labels).accuracy >= floor:
            return threshold
    return 1.0


def paired_difference_interval(
    correct: NDArray[np.bool_], baseline: NDArray[np.bool_]
) -> tuple[float, float]:
    """Return the 95% bootstrap interval of an accuracy difference on the same examples.

    Args:
        correct: Whether each example was classified correctly, (N,).
        baseline: The same for what it is compared with, (N,).
    """
    return mean_interval(correct.astype(float) - baseline.astype(float))

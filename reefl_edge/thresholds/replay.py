"""What would a stop rule have made of examples whose logits are known?

Letters: E exits, N examples, C classes.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reefl_edge.adaptive import ConfidencePolicy
from reefl_edge.bootstrap import mean_interval


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
        return exit_shares(self.exit_indices, num_exits)


def exit_shares(exit_indices: NDArray[np.int64], num_exits: int) -> tuple[float, ...]:
    """Return the share of examples that stop at each exit, from where each stopped, (N,)."""
    counts = np.bincount(exit_indices, minlength=num_exits)
    return tuple(float(count) / len(exit_indices) for count in counts)


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


def paired_difference_interval(
    correct: NDArray[np.bool_], baseline: NDArray[np.bool_]
) -> tuple[float, float]:
    """Return the 95% bootstrap interval of an accuracy difference on the same examples.

    Args:
        correct: Whether each example was classified correctly, (N,).
        baseline: The same for what it is compared with, (N,).
    """
    return mean_interval(correct.astype(float) - baseline.astype(float))

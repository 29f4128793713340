"""What do all exits say of the same examples, and what does stopping at each of them cost?

Letters: E exits, N examples, C classes, T candidates.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from reefl_edge.bundles.thresholds import Promise
from reefl_edge.confidence import ConfidenceMeasure, confidence

Logits = NDArray[np.float32]
Labels = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class ExitAnswers:
    """What every exit answers.

    Attributes:
        labels: The class that each exit finds likeliest, (E, N).
        truth: The class of each example, (N,); None where it is not known.
        confidences: How sure every exit but the last is, (E - 1, N).
        exit_ms: How long an example takes up to each exit, rising, (E,).
    """

    labels: Labels
    truth: Labels | None
    confidences: NDArray[np.float32]
    exit_ms: NDArray[np.float64]

    @classmethod
    def of(
        cls,
        logits: Logits,
        truth: Labels | None,
        *,
        exit_ms: NDArray[np.float64],
        measure: ConfidenceMeasure = "largest-softmax",
        temperatures: tuple[float, ...] = (),
    ) -> Self:
        """Read them off logits (E, N, C)."""
        num_exits, num_examples, _ = logits.shape
        confidences = np.empty((num_exits - 1, num_examples), np.float32)
        for exit_index in range(num_exits - 1):
            temperature = temperatures[exit_index] if temperatures else 1.0
            confidences[exit_index] = confidence(
                logits[exit_index], measure, temperature=temperature
            )
        return cls(logits.argmax(axis=-1), truth, confidences, exit_ms)

    @property
    def num_examples(self) -> int:
        """How many examples there are."""
        return len(self.labels[0])

    @property
    def num_exits(self) -> int:
        """How many exits there are."""
        return len(self.labels)

    def subset(self, indices: NDArray[np.int64]) -> "ExitAnswers":
        """Return the answers to some of the examples."""
        return ExitAnswers(
            self.labels[:, indices],
            None if self.truth is None else self.truth[indices],
            self.confidences[:, indices],
            self.exit_ms,
        )

    def losses(self, promise: Promise) -> NDArray[np.float64]:
        """Return what stopping at each exit costs, in what the promise limits, (E, N).

        Of accuracy: 1 where only the deepest exit is right, -1 where only the one that stops is,
        else 0. Of answers: 1 where they differ. Of time: the milliseconds.

        Raises:
            ValueError: It is about accuracy, and the classes are not known.
        """
        match promise.kind:
            case "max-drop":
                if self.truth is None:
                    raise ValueError("max-drop is about accuracy, which takes labels")
                correct = (self.labels == self.truth).astype(np.float64)
                losses: NDArray[np.float64] = correct[-1] - correct
            case "max-disagreement":
                losses = (self.labels != self.labels[-1]).astype(np.float64)
            case "max-mean-ms":
                losses = np.repeat(self.exit_ms[:, None], self.num_examples, axis=1)
        return losses

    def exits_taken(self, thresholds: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return where each example stops by each candidate, (T, N), from candidates (T, E - 1)."""
        taken = np.full((len(thresholds), self.num_examples), self.num_exits - 1)
        for exit_index in reversed(range(self.num_exits - 1)):
            # As in ``ConfidencePolicy.stops``: compared in float32, and 1 is never to stop.
            limits = thresholds[:, exit_index, None].astype(np.float32)
            stops = (self.confidences[exit_index] >= limits) & (limits < 1)
            taken[stops] = exit_index
        return taken

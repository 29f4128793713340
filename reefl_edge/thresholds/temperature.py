"""By what must an exit's logits be divided, so that it is right as often as it is sure?

The temperature with the lowest cross-entropy on labelled examples. Cross-entropy is convex in its
inverse, whose derivative is looked for the place where it is 0.

The *expected calibration error* is how far, on average, an exit's share of right answers lies from
how sure it was: in bins of examples of which it was about equally sure.

Letters: E exits, N examples, C classes.

Source: Guo et al. 2017, "On calibration of modern neural networks".
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reefl_edge.confidence import TEMPERATURE_BOUNDS, softmax

NUM_BINS = 15
# Bisections of the bounds, each of which halves what is not known of the logarithm.
_NUM_BISECTIONS = 16

Logits = NDArray[np.float32]
Labels = NDArray[np.int64]


def fit_temperatures(logits: Logits, labels: Labels) -> tuple[float, ...]:
    """Return the temperature of each exit, to three digits, from logits (E, N, C)."""
    return tuple(_fit(each, labels) for each in logits)


def _fit(logits: Logits, labels: Labels) -> float:
    low, high = np.log(TEMPERATURE_BOUNDS)
    right = logits[np.arange(len(labels)), labels].mean()
    for _ in range(_NUM_BISECTIONS):
        middle = (low + high) / 2
        probabilities = softmax(logits / np.float32(np.exp(middle)))
        expected = np.einsum("nc,nc->n", probabilities, logits).mean()
        # Sure of more than is right: hotter; of less: colder.
        low, high = (middle, high) if expected > right else (low, middle)
    return float(np.clip(round(float(np.exp((low + high) / 2)), 3), *TEMPERATURE_BOUNDS))


@dataclass(frozen=True, slots=True)
class Bin:
    """Examples of which an exit was about equally sure.

    Attributes:
        num_examples: How many there are.
        confidence: How sure it was, on average.
        accuracy: The share of them that it got right.
    """

    num_examples: int
    confidence: float
    accuracy: float


def reliability(confidences: NDArray[np.float32], correct: NDArray[np.bool_]) -> tuple[Bin, ...]:
    """Put examples in bins of equal width, those that hold any, by how sure an exit was, (N,)."""
    indices = np.minimum((confidences * NUM_BINS).astype(int), NUM_BINS - 1)
    counts = np.bincount(indices, minlength=NUM_BINS)
    sure = np.bincount(indices, confidences, NUM_BINS)
    right = np.bincount(indices, correct, NUM_BINS)
    return tuple(
        Bin(int(counts[each]), float(sure[each] / counts[each]), float(right[each] / counts[each]))
        for each in np.flatnonzero(counts)
    )


def expected_calibration_error(bins: tuple[Bin, ...]) -> float:
    """Return how far accuracy lies from confidence, on average over the examples."""
    total = sum(each.num_examples for each in bins)
    return sum(each.num_examples * abs(each.accuracy - each.confidence) for each in bins) / total

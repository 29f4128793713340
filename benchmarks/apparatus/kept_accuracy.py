"""Which threshold keeps the accuracy on some images, without a word on others?

What the demo did before there were certificates: benchmarks compare with it, or stop by it.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from reefl_edge.adaptive import ConfidencePolicy
from reefl_edge.thresholds.replay import replay

CANDIDATES = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)


def choose_threshold(
    logits: NDArray[np.float32],
    labels: NDArray[np.int64],
    *,
    max_accuracy_drop: float = 0.0,
    candidates: Sequence[float] = CANDIDATES,
) -> float:
    """Return the lowest threshold that costs no more accuracy than allowed, on these examples.

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

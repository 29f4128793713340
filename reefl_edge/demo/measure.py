"""How accurate and how fast is a bundle at each confidence threshold, on this machine?

Each test image is run alone, through every threshold in turn before the next image comes, so that
a change of the machine's speed falls on all thresholds alike.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from reefl_edge.adaptive import AdaptiveSession, ConfidencePolicy
from reefl_edge.bundles.bundle import Bundle
from reefl_edge.data.dataset import ArrayDataset
from reefl_edge.runtimes.base import RuntimeName
from reefl_edge.thresholds.replay import Replay, paired_difference_interval

# Thresholds of the curve, beside the one that was certified.
CURVE_THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)
RUNTIMES: tuple[RuntimeName, ...] = ("executorch", "onnx")
_WARM_UP_RUNS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """What one threshold gives.

    Attributes:
        threshold: The confidence at which to stop; 1 is always the deepest exit.
        accuracy: On the test examples.
        exit_shares: Share of the examples that stop at each exit.
        mean_latency_ms: Of one example, mean over the test examples.
        median_latency_ms: The same, median.
        accuracy_change: Against always the deepest exit, on the same examples.
        accuracy_change_interval: Its 95% interval (paired bootstrap).
    """

    threshold: float
    accuracy: float
    exit_shares: tuple[float, ...]
    mean_latency_ms: float
    median_latency_ms: float
    accuracy_change: float
    accuracy_change_interval: tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Accuracy against latency of one runtime.

    Attributes:
        runtime: The runtime.
        threshold: Where its artifact stops, by the bundle.
        num_examples: Examples it was measured on.
        points: One per threshold, in rising order.
    """

    runtime: RuntimeName
    threshold: float
    num_examples: int
    points: tuple[Point, ...]

    @property
    def deepest(self) -> Point:
        """The point that never stops early."""
        return self.at(1.0)

    @property
    def chosen(self) -> Point:
        """The point at which the bundle stops."""
        return self.at(self.threshold)

    def at(self, threshold: float) -> Point:
        """Return the point of a threshold that was measured."""
        return next(point for point in self.points if point.threshold == threshold)


def measure_curve(
    bundle: Bundle,
    test: ArrayDataset,
    *,
    threads: int,
    on_step: Callable[[int, int], None],
) -> tuple[Curve, ...]:
    """Measure every threshold on every runtime.

    Args:
        bundle: What to run; its own thresholds are measured beside the usual ones.
        test: The examples.
        threads: Threads to compute with.
        on_step: Called after every example with the examples done and those to do.
    """
    total = len(RUNTIMES) * len(test.labels)
    curves = []
    for index, runtime in enumerate(RUNTIMES):
        session = AdaptiveSession.open(bundle, runtime=runtime, threads=threads)
        (threshold,) = session.policy.thresholds
        on_example = partial(_count_on, on_step, index * len(test.labels), total)
        curves.append(_measure(session, runtime, threshold, test, on_example))
    return tuple(curves)


def _count_on(on_step: Callable[[int, int], None], before: int, total: int, done: int) -> None:
    on_step(before + done, total)


def _measure(
    session: AdaptiveSession,
    runtime: RuntimeName,
    threshold: float,
    test: ArrayDataset,
    on_example: Callable[[int], None],
) -> Curve:
    thresholds = sorted({threshold, *CURVE_THRESHOLDS})
    sessions = [session.with_policy(ConfidencePolicy((threshold,))) for threshold in thresholds]
    latencies = np.empty((len(thresholds), len(test.labels)))
    labels = np.empty((len(thresholds), len(test.labels)), np.int64)
    exits = np.empty((len(thresholds), len(test.labels)), np.int64)
    for _ in range(_WARM_UP_RUNS):
        session.predict(test.images(np.array([0])))
    for example in range(len(test.labels)):
        image = test.images(np.array([example]))
        # Each threshold is first equally often: the first run after a new image is a slower one.
        for row in np.roll(np.arange(len(sessions)), example):
            start = time.perf_counter()
            prediction = sessions[row].predict(image)
            latencies[row, example] = (time.perf_counter() - start) * 1e3
            labels[row, example] = prediction.labels[0]
            exits[row, example] = prediction.exit_indices[0]
        on_example(example + 1)
    outcomes = [
        Replay(exit_indices, predicted == test.labels)
        for exit_indices, predicted in zip(exits, labels, strict=True)
    ]
    deepest = outcomes[thresholds.index(1.0)]
    return Curve(
        runtime=runtime,
        threshold=threshold,
        num_examples=len(test.labels),
        points=tuple(
            _point(each, outcome, deepest, milliseconds, session.submodel.num_exits)
            for each, outcome, milliseconds in zip(thresholds, outcomes, latencies, strict=True)
        ),
    )


def _point(
    threshold: float,
    outcome: Replay,
    deepest: Replay,
    latencies_ms: NDArray[np.float64],
    num_exits: int,
) -> Point:
    return Point(
        threshold=threshold,
        accuracy=outcome.accuracy,
        exit_shares=outcome.exit_shares(num_exits),
        mean_latency_ms=float(latencies_ms.mean()),
        median_latency_ms=float(np.median(latencies_ms)),
        accuracy_change=outcome.accuracy - deepest.accuracy,
        accuracy_change_interval=paired_difference_interval(outcome.correct, deepest.correct),
    )

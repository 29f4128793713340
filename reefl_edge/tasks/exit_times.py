"""How long does one image take up to each exit, measured here or read from a report?

Letters: E exits, M images timed.
"""

import logging
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reefl_edge.adaptive import ConfidencePolicy
from reefl_edge.bundles.artifacts import Artifact
from reefl_edge.bundles.bundle import Bundle
from reefl_edge.errors import InputError
from reefl_edge.profiling.report import Report, read_report
from reefl_edge.runtimes.base import Runtime, Tensors
from reefl_edge.tasks.validation import ValidationImages

_WARM_UP_RUNS = 5

_log = logging.getLogger(__name__)

Milliseconds = NDArray[np.float64]


def timed_exits(
    runtime: Runtime,
    images: ValidationImages,
    policy: ConfidencePolicy,
    *,
    num_exits: int,
    num_images: int,
) -> Milliseconds:
    """Run images one by one to the deepest exit, and tell when each exit was passed.

    The stop rule is asked at every exit, as in ``AdaptiveSession``, and never obeyed: so one run
    tells what stopping anywhere would have taken.

    Args:
        runtime: What runs them.
        images: The images; those timed are spread over all of them.
        policy: The stop rule.
        num_exits: How many exits there are.
        num_images: How many to time at most.

    Returns:
        Milliseconds from the beginning of an image, (E, M).
    """
    chosen = timed_indices(images.count, num_images)
    passed_ms = np.empty((num_exits, len(chosen)))
    warm_up = images.images(chosen[:1])
    for _ in range(_WARM_UP_RUNS):
        _run(runtime, warm_up, policy, num_exits)
    for column, index in enumerate(chosen):
        passed_ms[:, column] = _run(runtime, images.images(np.array([index])), policy, num_exits)
    return passed_ms


def timed_indices(count: int, num_images: int) -> NDArray[np.int64]:
    """Return which of ``count`` images are timed, at most so many, spread over all of them."""
    indices = np.linspace(0, count - 1, min(num_images, count)).round().astype(np.int64)
    return np.unique(indices)


def _run(
    runtime: Runtime, image: NDArray[np.uint8], policy: ConfidencePolicy, num_exits: int
) -> list[float]:
    passed_ms = []
    carried: Tensors = (image,)
    start = time.perf_counter()
    for exit_index in range(num_exits):
        *rest, logits = runtime.run(exit_index, carried)
        if exit_index < num_exits - 1:
            policy.stops(logits, exit_index)
        carried = tuple(rest)
        passed_ms.append((time.perf_counter() - start) * 1e3)
    return passed_ms


def mean_exit_ms(passed_ms: Milliseconds) -> Milliseconds:
    """Return the mean time up to each exit, (E,), which never falls, from times (E, M)."""
    means: Milliseconds = np.maximum.accumulate(passed_ms.mean(axis=1))
    return means


def reported_exit_ms(
    report: Report | str | Path, bundle: Bundle, artifact: Artifact
) -> Milliseconds:
    """Return the mean time up to each exit of an artifact, (E,), as a report has measured it.

    Whose weights they were does not matter: a network takes as long whatever it has learnt. Of
    measurements that are not valid, it is warned.

    Raises:
        InputError: The report is damaged, of another network or an emulation, or lacks an exit of
            the artifact.
    """
    name = "the report" if isinstance(report, Report) else str(report)
    if not isinstance(report, Report):
        report = read_report(Path(report))
    here, measured = bundle.manifest.submodel, report.context.submodel
    if (measured.architecture, measured.schedule) != (here.architecture, here.schedule):
        raise InputError(
            f"{name} is of another network, {report.context.model}: sizes or exits differ"
        )
    if report.rows and not report.context.is_real_hardware:
        raise InputError(
            f"{name} is of {report.context.device}, an emulation, whose time is not the device's: "
            "give a report of the device itself"
        )
    rows = [
        row
        for row in report.rows_of("inference")
        if (row.runtime, row.precision) == (artifact.target, artifact.precision)
    ]
    exits = [row.exit_index for row in rows]
    if exits[: here.num_exits] != list(range(here.num_exits)) or len(set(exits)) < len(exits):
        raise InputError(
            f"{name} has {artifact.name} inference at exits {exits}, and one of each from 0 to "
            f"{here.max_exit} is needed: profile the bundle with its runtime and precision"
        )
    used = rows[: here.num_exits]
    for row in used:
        if row.summary.verdict != "valid":
            _log.warning(
                "%s, exit %d: %s: %s",
                name,
                row.exit_index,
                row.summary.verdict,
                row.summary.reason,
            )
    means = np.array([row.summary.mean_ms for row in used])
    return mean_exit_ms(means[:, None])

"""How good is each exit of an artifact, what does stopping early cost, which artifact is better?

Letters: E exits, N images, C classes, M images timed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from reefl_edge.adaptive import ConfidencePolicy, policy_in_force
from reefl_edge.bundles.artifacts import Precision
from reefl_edge.bundles.bundle import Bundle
from reefl_edge.bundles.thresholds import Promise
from reefl_edge.confidence import ConfidenceMeasure, confidence
from reefl_edge.data.dataset import Labels
from reefl_edge.errors import InputError
from reefl_edge.runtimes.base import RuntimeName
from reefl_edge.runtimes.opening import artifact_for, open_runtime, runtime_for
from reefl_edge.tasks.exit_times import Milliseconds, timed_exits, timed_indices
from reefl_edge.tasks.validation import (
    OnStep,
    ValidationImages,
    answers_of,
    read_validation,
)
from reefl_edge.thresholds.exits import Logits
from reefl_edge.thresholds.replay import Replay, paired_difference_interval, replay
from reefl_edge.thresholds.temperature import Bin, expected_calibration_error, reliability

DEFAULT_NUM_TIMED = 200
_NUM_CONFUSIONS = 10

Interval = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExitFigures:
    """What one exit is worth.

    Attributes:
        accuracy: Share of right answers.
        mean_ms: How long an image takes up to it.
        calibration_error: How far it is from being right as often as sure.
        reliability: The bins of that.
        tempered_calibration_error: The same at the bundle's temperature; None without one.
        tempered_reliability: The bins of that; none without a temperature.
    """

    accuracy: float
    mean_ms: float
    calibration_error: float
    reliability: tuple[Bin, ...]
    tempered_calibration_error: float | None
    tempered_reliability: tuple[Bin, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Confusion:
    """A class that is taken for another, and how often."""

    truth: str
    answer: str
    num_images: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What an artifact is worth on labelled images.

    Attributes:
        bundle: The bundle's folder.
        artifact: Its name.
        runtime: What ran it.
        thresholds: Where it stops, by its bundle.
        measure: What is held against them.
        temperatures: One per exit; none for 1 everywhere.
        promise: What they are certified to keep; None for nothing.
        num_images: How many images it was evaluated on.
        images_sha256: Identity of the images.
        are_calibration_images: They are those on which the thresholds were certified.
        exits: Each exit.
        accuracy: At the thresholds.
        accuracy_change: Against always the deepest exit.
        accuracy_change_interval: Its 95% interval (paired bootstrap).
        disagreement: Share of answers that differ from the deepest exit's.
        exit_shares: Share of images that stop at each exit.
        num_timed: How many images were timed, one by one.
        mean_ms: Of an image, at the thresholds.
        p90_ms: The same, the 90th percentile.
        deepest_mean_ms: Always to the deepest exit.
        deepest_p90_ms: The same, the 90th percentile.
        class_accuracy: At the thresholds, by class; None for a class without images.
        confusions: The most frequent, at the thresholds.
    """

    bundle: str
    artifact: str
    runtime: RuntimeName
    thresholds: tuple[float, ...]
    measure: ConfidenceMeasure
    temperatures: tuple[float, ...]
    promise: Promise | None
    num_images: int
    images_sha256: str
    are_calibration_images: bool
    exits: tuple[ExitFigures, ...]
    accuracy: float
    accuracy_change: float
    accuracy_change_interval: Interval
    disagreement: float
    exit_shares: tuple[float, ...]
    num_timed: int
    mean_ms: float
    p90_ms: float
    deepest_mean_ms: float
    deepest_p90_ms: float
    class_accuracy: dict[str, float | None]
    confusions: tuple[Confusion, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Whether an artifact is better than the first, on the same images.

    Attributes:
        bundle: The bundle's folder.
        artifact: Its name.
        accuracy_change: Against the first, each where it stops.
        accuracy_change_interval: Its 95% interval (paired bootstrap): where it holds 0, the images
            do not show that either is better.
    """

    bundle: str
    artifact: str
    accuracy_change: float
    accuracy_change_interval: Interval


@dataclass(frozen=True, slots=True, eq=False)
class Evaluated:
    """An evaluation, with what its picture is drawn from.

    Attributes:
        evaluation: The figures.
        policy: Where it stops.
        logits: Of every exit, (E, N, C).
        replay: What the policy makes of them.
        passed_ms: When each exit was passed, (E, M).
        images: The images.
    """

    evaluation: Evaluation
    policy: ConfidencePolicy
    logits: Logits
    replay: Replay
    passed_ms: Milliseconds
    images: ValidationImages


def evaluate_bundle(
    bundle: Bundle | str | Path,
    data: str | Path,
    *,
    runtime: RuntimeName | None = None,
    precision: Precision | None = None,
    threads: int | None = None,
    num_timed: int = DEFAULT_NUM_TIMED,
    on_step: OnStep = lambda _done, _total: None,
) -> Evaluated:
    """Judge one artifact of a bundle on labelled images, exit by exit and where it stops.

    Args:
        bundle: The bundle, or its folder.
        data: Labelled images that neither training nor calibration has seen.
        runtime: What runs it; None for what runs the bundle here.
        precision: Of the artifact; None for the first that the runtime can run.
        threads: Threads to compute with; None as for ``open_runtime``.
        num_timed: How many images to time, one by one, at most.
        on_step: Called after every batch with the images done and those to do.

    Raises:
        InputError: A file is missing or damaged, or the images are not labelled with the bundle's
            classes.
        ParityError: A logit is no number.
        MissingToolchainError: The runtime is not installed.
        ValueError: The runtime does not compute in the precision.
    """
    opened = bundle if isinstance(bundle, Bundle) else Bundle.open(Path(bundle))
    name = runtime or runtime_for(opened, precision)
    artifact = artifact_for(name, opened, precision)
    images = read_validation(data, opened, labels_for="evaluate")
    loaded = open_runtime(name, opened, precision=artifact.precision, threads=threads)
    policy, certificate = policy_in_force(opened, artifact, runtime=name)
    answers = answers_of(loaded, opened, images, artifact=artifact.name, on_step=on_step)
    passed_ms = timed_exits(
        loaded,
        images,
        policy,
        num_exits=opened.manifest.submodel.num_exits,
        num_images=num_timed,
    )
    assert images.labels is not None  # as asked for
    stopped = replay(policy, answers.logits, images.labels)
    evaluation = Evaluation(
        bundle=str(opened.directory),
        artifact=artifact.name,
        runtime=name,
        thresholds=policy.thresholds,
        measure=policy.measure,
        temperatures=policy.temperatures,
        promise=None if certificate is None else certificate.promise,
        num_images=images.count,
        images_sha256=answers.images_sha256,
        are_calibration_images=certificate is not None
        and certificate.images_sha256 == answers.images_sha256,
        exits=_exits(policy, answers.logits, images.labels, passed_ms),
        **_stopping(stopped, answers.logits, images.labels),
        **_times(stopped, passed_ms),
        class_accuracy=_class_accuracy(stopped, images.labels, opened.manifest.class_names),
        confusions=_confusions(stopped, answers.logits, images.labels, opened.manifest.class_names),
    )
    return Evaluated(evaluation, policy, answers.logits, stopped, passed_ms, images)


def compare(evaluated: Sequence[Evaluated]) -> tuple[Comparison, ...]:
    """Compare artifacts with the first, each where it stops.

    Raises:
        InputError: They were not evaluated on the same images, in the same classes.
    """
    first, *others = evaluated
    for other in others:
        names = tuple(first.evaluation.class_accuracy)
        same_images = other.evaluation.images_sha256 == first.evaluation.images_sha256
        same_size = first.images.count == other.images.count
        if tuple(other.evaluation.class_accuracy) != names or not (same_images or same_size):
            raise InputError(
                f"{other.evaluation.bundle} has other classes than {first.evaluation.bundle}: "
                "they cannot be compared"
            )
    return tuple(
        Comparison(
            bundle=other.evaluation.bundle,
            artifact=other.evaluation.artifact,
            accuracy_change=other.evaluation.accuracy - first.evaluation.accuracy,
            accuracy_change_interval=paired_difference_interval(
                other.replay.correct, first.replay.correct
            ),
        )
        for other in others
    )


def _exits(
    policy: ConfidencePolicy, logits: Logits, labels: Labels, passed_ms: Milliseconds
) -> tuple[ExitFigures, ...]:
    figures = []
    for exit_index, each in enumerate(logits):
        correct = each.argmax(axis=-1) == labels
        bins = reliability(confidence(each), correct)
        tempered: tuple[Bin, ...] = ()
        if policy.temperatures:
            sureness = confidence(each, temperature=policy.temperature(exit_index))
            tempered = reliability(sureness, correct)
        figures.append(
            ExitFigures(
                accuracy=float(correct.mean()),
                mean_ms=float(passed_ms[exit_index].mean()),
                calibration_error=expected_calibration_error(bins),
                reliability=bins,
                tempered_calibration_error=(
                    expected_calibration_error(tempered) if tempered else None
                ),
                tempered_reliability=tempered,
            )
        )
    return tuple(figures)


class _Stopping(TypedDict):
    accuracy: float
    accuracy_change: float
    accuracy_change_interval: Interval
    disagreement: float
    exit_shares: tuple[float, ...]


def _stopping(stopped: Replay, logits: Logits, labels: Labels) -> _Stopping:
    deepest = logits[-1].argmax(axis=-1)
    return {
        "accuracy": stopped.accuracy,
        "accuracy_change": stopped.accuracy - float((deepest == labels).mean()),
        "accuracy_change_interval": paired_difference_interval(stopped.correct, deepest == labels),
        "disagreement": float((_answers(stopped, logits) != deepest).mean()),
        "exit_shares": stopped.exit_shares(len(logits)),
    }


class _Times(TypedDict):
    num_timed: int
    mean_ms: float
    p90_ms: float
    deepest_mean_ms: float
    deepest_p90_ms: float


def _times(stopped: Replay, passed_ms: Milliseconds) -> _Times:
    """Tell what the images that were timed take where they stop, and to the end."""
    timed = timed_indices(len(stopped.exit_indices), passed_ms.shape[1])
    stopped_ms = passed_ms[stopped.exit_indices[timed], np.arange(len(timed))]
    return {
        "num_timed": len(timed),
        "mean_ms": float(stopped_ms.mean()),
        "p90_ms": float(np.percentile(stopped_ms, 90)),
        "deepest_mean_ms": float(passed_ms[-1].mean()),
        "deepest_p90_ms": float(np.percentile(passed_ms[-1], 90)),
    }


def _answers(stopped: Replay, logits: Logits) -> NDArray[np.int64]:
    columns = np.arange(len(stopped.exit_indices))
    answers: NDArray[np.int64] = logits[stopped.exit_indices, columns].argmax(axis=-1)
    return answers


def _class_accuracy(
    stopped: Replay, labels: Labels, class_names: tuple[str, ...]
) -> dict[str, float | None]:
    of_class = [stopped.correct[labels == label] for label in range(len(class_names))]
    return {
        name: float(correct.mean()) if len(correct) else None
        for name, correct in zip(class_names, of_class, strict=True)
    }


def _confusions(
    stopped: Replay, logits: Logits, labels: Labels, class_names: tuple[str, ...]
) -> tuple[Confusion, ...]:
    answers = _answers(stopped, logits)
    wrong = answers != labels
    pairs, counts = np.unique(
        np.stack([labels[wrong], answers[wrong]], axis=1), axis=0, return_counts=True
    )
    most = np.argsort(-counts, kind="stable")[:_NUM_CONFUSIONS]
    return tuple(
        Confusion(
            truth=class_names[truth], answer=class_names[answer], num_images=int(counts[index])
        )
        for index, (truth, answer) in zip(most, pairs[most], strict=True)
    )

"""How does an artifact of a bundle get thresholds that keep a promise?"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from reefl_edge import schema
from reefl_edge.adaptive import ConfidencePolicy
from reefl_edge.bundles.artifacts import Artifact, Precision
from reefl_edge.bundles.bundle import Bundle
from reefl_edge.bundles.manifest import MANIFEST_NAME
from reefl_edge.bundles.thresholds import ArtifactThresholds, Certificate
from reefl_edge.errors import InputError
from reefl_edge.files import write_text
from reefl_edge.profiling.report import Report
from reefl_edge.runtimes.base import Runtime, RuntimeName
from reefl_edge.runtimes.opening import artifact_for, open_runtime, runtime_for
from reefl_edge.tasks.exit_times import (
    Milliseconds,
    mean_exit_ms,
    reported_exit_ms,
    timed_exits,
)
from reefl_edge.tasks.validation import (
    Answers,
    OnStep,
    ValidationImages,
    answers_of,
    read_validation,
)
from reefl_edge.thresholds.calibrate import Calibrated, CalibrationPlan, calibrate

# Images timed where the promise is about time, and where times only tell which exit saves more.
_NUM_TIMED, _NUM_TIMED_ROUGHLY = 64, 32


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationRequest:
    """What to calibrate, on what, to keep what.

    Attributes:
        plan: What thresholds are to keep, and how they are looked for.
        data: Images like those that will come (``read_validation``); labelled where the plan needs
            it.
        runtime: What runs the artifact; None for what runs the bundle here (``runtime_for``).
        precision: Of the artifact; None for the first that the runtime can run.
        report: How long each exit takes, measured by ``profile``, or its file; None to measure it.
        threads: Threads to compute with; None as for ``open_runtime``.
    """

    plan: CalibrationPlan
    data: str | Path
    runtime: RuntimeName | None = None
    precision: Precision | None = None
    report: Report | str | Path | None = None
    threads: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibratedBundle:
    """What became of a bundle.

    Attributes:
        bundle: With the new thresholds in its manifest.
        entry: They, and their certificate.
        found: What they do on the images that certified them.
        exit_ms: How long an image takes up to each exit.
    """

    bundle: Bundle
    entry: ArtifactThresholds
    found: Calibrated
    exit_ms: tuple[float, ...]


def calibrate_bundle(
    bundle: Bundle | str | Path,
    request: CalibrationRequest,
    *,
    on_stage: Callable[[str], None] = lambda _: None,
    on_step: OnStep = lambda _done, _total: None,
) -> CalibratedBundle:
    """Choose the thresholds of one artifact, and write them into the bundle's manifest.

    The artifact itself is run: in another precision, or on another runtime, exits are sure of other
    images. Nothing is exported.

    Args:
        bundle: The bundle, or its folder.
        request: What to calibrate.
        on_stage: Called with a description of each stage as it begins.
        on_step: Called after every batch with the images done and those to do.

    Raises:
        InputError: A file is missing or damaged, the images lack labels that are needed or are of
            other classes, the artifact cannot be run here, or it has been replaced meanwhile.
        ParityError: A logit is no number.
        PromiseError: No early stop is certified.
        MissingToolchainError: The runtime is not installed.
        ValueError: The runtime does not compute in the precision, or computes no artifact.
    """
    opened = bundle if isinstance(bundle, Bundle) else Bundle.open(Path(bundle))
    runtime_name, artifact = _artifact(opened, request)
    exit_ms = None
    if request.report is not None:
        exit_ms = reported_exit_ms(request.report, opened, artifact)
    images = read_validation(request.data, opened, labels_for=_labels_for(request.plan))
    if images.count < 2:
        raise InputError(f"{request.data} holds one image, which certifies nothing")
    runtime = open_runtime(
        runtime_name, opened, precision=artifact.precision, threads=request.threads
    )
    on_stage(f"calibrate {artifact.name}")
    answers = answers_of(runtime, opened, images, artifact=artifact.name, on_step=on_step)
    if exit_ms is None:
        on_stage("time each exit")
        exit_ms = _timed(runtime, images, opened, request.plan)
    exit_ms = np.round(exit_ms, 4)
    found = calibrate(answers.logits, images.labels, request.plan, exit_ms=exit_ms)
    times = tuple(map(float, exit_ms))
    entry = _entry(opened, artifact, request.plan, found, answers, times)
    calibrated = _written(entry, opened)
    return CalibratedBundle(bundle=calibrated, entry=entry, found=found, exit_ms=times)


def _written(entry: ArtifactThresholds, opened: Bundle) -> Bundle:
    """Write an entry into a bundle's manifest as it is now; return the bundle with it.

    Raises:
        InputError: The bundle is no longer what was opened.
    """
    # Another artifact may have been calibrated meanwhile: what that has written stays.
    current = Bundle.open(opened.directory)
    weights_sha256, certificate = current.manifest.weights_sha256, entry.certificate
    assert certificate is not None  # it was just made
    if not any(
        artifact.name == entry.artifact and not certificate.why_not_for(artifact, weights_sha256)
        for artifact in current.manifest.artifacts
    ):
        raise InputError(
            f"{opened.directory} has been exported again meanwhile; calibrate once more"
        )
    calibrated = replace(current, manifest=current.manifest.with_entry(entry))
    write_text(current.directory / MANIFEST_NAME, schema.to_json(calibrated.manifest, indent=2))
    return calibrated


def _labels_for(plan: CalibrationPlan) -> str | None:
    """Return which option needs labels; None for none."""
    if not plan.needs_labels:
        return None
    if plan.has_temperatures:
        return "--temperature"
    return "--max-drop, unlike --max-disagreement,"


def _artifact(bundle: Bundle, request: CalibrationRequest) -> tuple[RuntimeName, Artifact]:
    """Return what is calibrated, and what runs it."""
    if bundle.manifest.submodel.num_exits < 2:
        raise InputError(f"{bundle.directory} has one exit: there is nothing to stop early")
    runtime = request.runtime or runtime_for(bundle, request.precision)
    if runtime == "eager":
        raise ValueError("thresholds are certified for an artifact, and eager runs none")
    return runtime, artifact_for(runtime, bundle, request.precision)


def _timed(
    runtime: Runtime, images: ValidationImages, bundle: Bundle, plan: CalibrationPlan
) -> Milliseconds:
    """Measure how long an image takes up to each exit, (E,), the stop rule with it."""
    policy = ConfidencePolicy((0.5,), plan.measure)
    num_exits = bundle.manifest.submodel.num_exits
    num_images = _NUM_TIMED if plan.promise.kind == "max-mean-ms" else _NUM_TIMED_ROUGHLY
    passed_ms = timed_exits(runtime, images, policy, num_exits=num_exits, num_images=num_images)
    return mean_exit_ms(passed_ms)


def _entry(
    bundle: Bundle,
    artifact: Artifact,
    plan: CalibrationPlan,
    found: Calibrated,
    answers: Answers,
    exit_ms: tuple[float, ...],
) -> ArtifactThresholds:
    """Return what the manifest is to say of the artifact."""
    certificate = Certificate(
        promise=plan.promise,
        bound=found.bound,
        num_images=found.num_images,
        images_sha256=answers.images_sha256,
        weights_sha256=bundle.manifest.weights_sha256,
        artifact_sha256=artifact.sha256,
        exit_ms=exit_ms if plan.promise.kind == "max-mean-ms" else (),
    )
    return ArtifactThresholds(
        target=artifact.target,
        precision=artifact.precision,
        thresholds=found.thresholds,
        measure=plan.measure,
        temperatures=found.temperatures,
    ).certified(certificate)

"""How does a network become a bundle: every artifact made, proven, and described?

The bundle is assembled beside its destination and put there whole. An artifact that does not
compute what the network computes stops the export, and nothing is written.
"""

import fnmatch
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from reefl_edge import schema
from reefl_edge.bundles.artifacts import TARGETS, Artifact, BundleFile, Target
from reefl_edge.bundles.bundle import Bundle
from reefl_edge.bundles.manifest import MANIFEST_NAME, PARITY_NAME, Deployment, Manifest, signatures
from reefl_edge.bundles.start import read_start
from reefl_edge.bundles.thresholds import same_threshold
from reefl_edge.bundles.training import TrainingSection, TrainingStep
from reefl_edge.checkpoints.checkpoint import Checkpoint
from reefl_edge.checkpoints.hashes import weights_sha256
from reefl_edge.files import replacing_folder, write_text
from reefl_edge.partials import scratch_folder
from reefl_edge.runtimes.base import default_threads
from reefl_edge.submodel import Submodel
from reefl_export import cache
from reefl_export.conversion import OnArtifact, OnStage
from reefl_export.destination import check_replaceable
from reefl_export.given_back import give_back
from reefl_export.images import NamedImages, noise
from reefl_export.maker import Maker
from reefl_export.parity.comparison import ParityReport, ParityRow, check_parity
from reefl_export.parity.reference import Reference
from reefl_export.parity.step import StepRow, check_steps, compare_step
from reefl_export.recipe import ExportRecipe, stock
from reefl_export.step_maker import MadeStep, StepMaker
from reefl_export.training import TrainingPlan

if TYPE_CHECKING:
    from reefl_edge.models.reefl import ReeFL


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What a bundle says of its model besides the sub-model.

    Attributes:
        name: A short name of the model.
        threshold: Confidence at which to stop when the user gives none; None for never early.
        deployment: What it is exported for, if for a device in particular.
    """

    name: str
    threshold: float | None = None
    deployment: Deployment | None = None


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export made.

    Attributes:
        bundle: The bundle, where it was to go.
        parity: How its artifacts compare with the network.
    """

    bundle: Bundle
    parity: ParityReport


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportImages:
    """The images of an export.

    Attributes:
        calibration: Typical images, for recipes that need them to find the ranges of activations.
        parity: What artifacts and network are compared on; None for noise.
    """

    calibration: NamedImages | None = None
    parity: NamedImages | None = None


def export_bundle(
    model: "ReeFL",
    directory: str | Path,
    formats: Sequence[Target] = TARGETS,
    *,
    name: str = "model",
    class_names: tuple[str, ...] | None = None,
    threshold: float | None = None,
) -> Bundle:
    """Export a network to a bundle.

    Args:
        model: The network; cut it first (``Checkpoint.cut``) to export fewer exits.
        directory: The bundle's folder: new, empty, or a bundle to replace (``check_replaceable``).
        formats: Which artifacts to make.
        name: A short name of the model.
        class_names: One name per class; None for their numbers.
        threshold: Confidence at which to stop when the user gives none.

    Raises:
        MissingToolchainError: A format's packages are not installed.
        ParityError: An artifact does not compute what the network computes.
        InputError: ``directory`` holds something else than a bundle of ours.
    """
    from reefl_edge.models.arrays import arrays_of

    checkpoint = Checkpoint(
        submodel=model.submodel, arrays=arrays_of(model), class_names=class_names
    )
    origin = Origin(name=name, threshold=threshold)
    return export_checkpoint(checkpoint, Path(directory), stock(formats), origin).bundle


def export_checkpoint(
    checkpoint: Checkpoint,
    directory: Path,
    recipes: Sequence[ExportRecipe],
    origin: Origin,
    *,
    training: TrainingPlan | None = None,
    images: ExportImages | None = None,
    threads: int | None = None,
    on_stage: OnStage = lambda _: None,
    on_artifact: OnArtifact = lambda _done, _total: None,
) -> Exported:
    """Export the arrays of a network; from the cache, without torch, where nothing has changed.

    LoRA and SSF are folded first: the bundle is that of a plain checkpoint, whose weights, hash and
    regime (full) are the folded ones, held to what the network before folding computes. Bottleneck
    adapters are exported as they are.

    Args:
        checkpoint: The arrays to export.
        directory: The bundle's folder: new, empty, or a bundle to replace (``check_replaceable``).
        recipes: How each artifact is made, the preferred one of a format first.
        origin: What the bundle says of its model.
        training: Which training steps to compile besides; they start from the arrays as they are,
            adapters not folded.
        images: Images to calibrate and to compare on.
        threads: Threads to compute with here; None for one per core this process may use.
        on_stage: Called with a description of each stage as it begins.
        on_artifact: Called with how many artifacts and training steps are made and compared, and
            with how many there are, at the start and after each.

    Raises:
        MissingToolchainError: A format's packages are not installed.
        ParityError: An artifact does not compute what the network computes.
        InputError: ``directory`` holds something else than a bundle of ours.
        ValueError: As for ``check_recipes``, or a regime has no place for the arrays' adapters.
    """
    images = images or ExportImages()
    check_recipes(recipes, images, checkpoint.submodel)
    trained, checkpoint = checkpoint, checkpoint.folded()
    manifest = _manifest(checkpoint, origin)
    threads = threads or default_threads()
    maker = Maker(checkpoint, manifest, images.calibration, threads, on_stage)
    compared_on = images.parity or noise(checkpoint.submodel)
    reference = Reference.of_network(trained, compared_on, origin.threshold, threads=threads)
    trained_sha256 = weights_sha256(trained.arrays)
    with scratch_folder(), replacing_folder(directory, check=check_replaceable) as folder:
        rows: list[ParityRow] = []
        artifacts: list[Artifact] = []
        total = len(recipes) + (0 if training is None else len(training.regimes))
        on_artifact(0, total)
        for recipe in recipes:
            artifact = maker.artifact(recipe, folder)
            give_back()
            on_stage(f"{recipe.title}: compare with the network")
            unfinished = Bundle(folder, replace(manifest, artifacts=(artifact,)))
            comparison = cache.rows_key(trained_sha256, compared_on, origin.threshold)
            compared = _rows(unfinished, artifact, reference, (maker.key(recipe), comparison))
            check_parity(compared, recipe.gate, is_trained=not checkpoint.is_untrained)
            artifacts.append(artifact)
            rows.extend(compared)
            give_back()
            on_artifact(len(artifacts), total)
        del maker  # and what artifacts had in common
        steps: list[TrainingStep] = []
        step_rows: list[StepRow] = []
        if training is not None:
            unfinished = Bundle(folder, replace(manifest, artifacts=tuple(artifacts)))
            for made in StepMaker(trained, training, folder, tuple(artifacts), on_stage).steps():
                on_stage(f"{made.step.submodel.regime} training: compare with the network")
                step_rows.extend(_step_rows(unfinished, made, compared_on, threads))
                check_steps(step_rows)
                steps.append(made.step)
                on_artifact(len(artifacts) + len(steps), total)
        report = reference.report({recipe.name: recipe.gate for recipe in recipes}, rows, step_rows)
        write_text(folder / PARITY_NAME, schema.to_json(report, indent=2))
        listed = BundleFile.of(folder, folder / PARITY_NAME)
        manifest = replace(
            manifest,
            artifacts=tuple(artifacts),
            thresholds=same_threshold(tuple(artifacts), origin.threshold),
            parity=listed,
            training=TrainingSection(steps=tuple(steps)) if steps else None,
        )
        write_text(folder / MANIFEST_NAME, schema.to_json(manifest, indent=2))
    return Exported(Bundle(directory, manifest), report)


def _rows(
    bundle: Bundle, artifact: Artifact, reference: Reference, key: tuple[str, str]
) -> tuple[ParityRow, ...]:
    """Compare an artifact with the network, or take the comparison from the cache."""
    rows = cache.fetch_rows(*key)
    if rows is None:
        rows = reference.rows(bundle, artifact)
        cache.store_rows(*key, rows)
    return rows


def _step_rows(
    bundle: Bundle, made: MadeStep, images: NamedImages, threads: int
) -> Iterator[StepRow]:
    """Compare a training step with the network's, or take the comparison from the cache."""
    step = made.step
    for artifact, key in zip(step.artifacts, made.keys, strict=True):
        comparison = cache.rows_key(step.base_sha256, images, None)
        rows = cache.fetch_step_rows(key, comparison)
        if rows is None:
            start = read_start(bundle, step)
            rows = compare_step(bundle, step, artifact.target, start, images, threads=threads)
            cache.store_step_rows(key, comparison, rows)
        yield from rows


def check_recipes(
    recipes: Sequence[ExportRecipe], images: ExportImages, submodel: Submodel
) -> None:
    """Hold recipes to each other, to the images there are, and to the layers of a sub-model.

    Raises:
        ValueError: Two recipes are for the same format and precision, one needs calibration
            images and there are none, a pattern of ``keep_float`` means no layer, or the images are
            not of the model's size.
    """
    names = [recipe.name for recipe in recipes]
    layers = [spec.name.removesuffix(".weight") for spec in submodel.arrays()]
    for recipe in recipes:
        if names.count(recipe.name) > 1:
            raise ValueError(f"two recipes make {recipe.title}")
        if recipe.needs_calibration and images.calibration is None:
            raise ValueError(f"{recipe.title} needs images to find the ranges of activations")
        for pattern in recipe.keep_float:
            if not fnmatch.filter(layers, pattern):
                raise ValueError(f"keep_float: no layer is called {pattern!r}")
    for each in (images.calibration, images.parity):
        if each is not None:
            each.fits(submodel)


def _manifest(checkpoint: Checkpoint, origin: Origin) -> Manifest:
    return Manifest(
        name=origin.name,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        submodel=checkpoint.submodel,
        weights_sha256=weights_sha256(checkpoint.arrays),
        has_random_weights=checkpoint.is_untrained,
        class_names=checkpoint.names(),
        segments=signatures(checkpoint.submodel),
        artifacts=(),
        deployment=origin.deployment,
    )

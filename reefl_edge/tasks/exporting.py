"""How does a model become a bundle: updated, cut, and compared on which images?"""

from dataclasses import dataclass, field, replace
from functools import partial
from math import inf
from pathlib import Path
from typing import Self

from reefl_edge.bundles.bundle import Bundle
from reefl_edge.bundles.thresholds import check_threshold
from reefl_edge.checkpoints.update import Update, read_update
from reefl_edge.data.unlabelled import read_pictures
from reefl_edge.errors import InputError
from reefl_edge.profiling.match import check_model
from reefl_edge.profiling.report import Report, read_report
from reefl_edge.tasks.models import Model
from reefl_export.bundle import Exported, ExportImages, Origin, check_recipes, export_checkpoint
from reefl_export.conversion import OnArtifact, OnStage
from reefl_export.images import NamedImages
from reefl_export.memory_plan import MemoryPlan
from reefl_export.plan import ExportPlan

DEFAULT_NUM_IMAGES = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportRequest:
    """What to export of a model, and as what.

    Attributes:
        plan: Which artifacts to make.
        update: A fine-tuning update to apply first, or its file.
        report: A report of the model as it is, or its file: the exit it chose is the deepest kept.
        max_exit: The deepest exit to keep, instead; None for all.
        threshold: Confidence at which to stop when the user gives none; None for what the model's
            bundle stores, if it is one.
        data: Images to compare artifacts and network on (``read_pictures``); None for noise.
        calibration: Typical images for precisions that need them; other ones than ``data``.
        num_images: How many to take of each at most.

    Raises:
        ValueError: The threshold is not in (0, 1], or both a report and an exit are given.
    """

    plan: ExportPlan = field(default_factory=ExportPlan.stock)
    update: Update | str | Path | None = None
    report: Report | str | Path | None = None
    max_exit: int | None = None
    threshold: float | None = None
    data: str | Path | None = None
    calibration: str | Path | None = None
    num_images: int = DEFAULT_NUM_IMAGES

    def __post_init__(self) -> None:
        if self.threshold is not None:
            check_threshold(self.threshold)
        if self.report is not None and self.max_exit is not None:
            raise ValueError("give max_exit or report, not both")


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedExport:
    """Everything an export takes, read and held together, before anything is compiled.

    Attributes:
        model: As it will be exported: updated, and cut.
        plan: Which artifacts to make.
        threshold: What the bundle will store.
        images: The images.
    """

    model: Model
    plan: ExportPlan
    threshold: float | None
    images: ExportImages

    def within(self, budget_mib: float, *, batch_size: int | None = None) -> Self:
        """Return the same with training steps that fit into a device's memory.

        Args:
            budget_mib: The most that a step may take above the imports of its process.
            batch_size: Images of a step; None to pick the largest batch that fits.

        Raises:
            BudgetError: Nothing fits.
            ValueError: The budget is not positive, or there are no training steps.
        """
        training = self.plan.training
        if training is None:
            raise ValueError("memory is planned for training steps, and none are compiled")
        if not 0 < budget_mib < inf:
            raise ValueError(f"a budget is a positive number of MiB, got {budget_mib:g}")
        picked = MemoryPlan.within(
            budget_mib,
            self.model.checkpoint.submodel,
            training.regimes,
            batch_size=batch_size,
            recompute=training.recompute,
            targets=training.targets,
        )
        fitting = replace(training, batch_size=picked.batch_size, recompute=picked.recompute)
        reason = f"training: {picked}, at most {picked.peak_mib:.0f} MiB of {budget_mib:g}"
        plan = replace(self.plan, training=fitting, reasons=(*self.plan.reasons, reason))
        return replace(self, plan=plan)

    def write(
        self,
        directory: str | Path,
        *,
        threads: int | None = None,
        on_stage: OnStage = lambda _: None,
        on_artifact: OnArtifact = lambda _done, _total: None,
    ) -> Exported:
        """Compile the model to a bundle; see ``export_model``."""
        return export_checkpoint(
            self.model.checkpoint,
            Path(directory),
            self.plan.recipes,
            Origin(name=self.model.name, threshold=self.threshold, deployment=self.plan.deployment),
            training=self.plan.training,
            images=self.images,
            threads=threads,
            on_stage=on_stage,
            on_artifact=on_artifact,
        )


def export_model(
    model: Model,
    directory: str | Path,
    request: ExportRequest | None = None,
    *,
    threads: int | None = None,
    on_stage: OnStage = lambda _: None,
    on_artifact: OnArtifact = lambda _done, _total: None,
) -> Bundle:
    """Compile a model to a bundle: one segment per exit, each proven equal.

    Args:
        model: The model.
        directory: The bundle's folder: new, empty, or a bundle to replace.
        request: What to export of it, and as what; None for all of it in every format.
        threads: Threads to compute with here; None for one per core this process may use.
        on_stage: Called with a description of each stage as it begins.
        on_artifact: Called with the artifacts that are made and compared, and with all there are,
            at the start and after each.

    Raises:
        InputError: A file is missing, damaged or of another model, or ``directory`` holds something
            else than a bundle of ours.
        ValueError: There is no such exit, or recipes, images and model do not fit each other.
        MissingToolchainError: A format's packages are not installed.
        ParityError: An artifact does not compute what the network computes.
    """
    prepared = prepare_export(model, request or ExportRequest())
    return prepared.write(
        directory, threads=threads, on_stage=on_stage, on_artifact=on_artifact
    ).bundle


def prepare_export(model: Model, request: ExportRequest) -> PreparedExport:
    """Read and check everything that an export takes, compiling nothing.

    Raises:
        InputError: A file is missing, damaged or of another model.
        ValueError: There is no such exit, or recipes, regimes, images and model do not fit each
            other.
    """
    max_exit = request.max_exit
    if request.report is not None:
        max_exit = _reported_exit(request.report, model)
    if request.update is not None:
        update = request.update
        model = model.updated(update if isinstance(update, Update) else read_update(Path(update)))
    model = model.cut(max_exit)
    read = partial(
        read_images,
        image_size=model.image_size,
        class_names=model.class_names,
        limit=request.num_images,
    )
    images = ExportImages(calibration=read(request.calibration), parity=read(request.data))
    check_recipes(request.plan.recipes, images, model.checkpoint.submodel)
    if request.plan.training is not None:
        for regime in request.plan.training.regimes:
            try:
                model.checkpoint.submodel.with_regime(regime)
            except ValueError as error:
                if request.update is None:
                    raise
                raise InputError(f"with the update, {error}") from error
    threshold = model.threshold if request.threshold is None else request.threshold
    return PreparedExport(model=model, plan=request.plan, threshold=threshold, images=images)


def chosen_exit(report: Report, model: Model) -> int:
    """Return the exit that a report of this model chose.

    Raises:
        ValueError: It holds no choice, or is of another model (``profiling.match``).
    """
    if report.choice is None:
        raise ValueError(
            "the report holds no choice: profile with a budget, such as --budget-ms 10"
        )
    check_model(report, model.checkpoint)
    return report.choice.exit_index


def _reported_exit(report: Report | str | Path, model: Model) -> int:
    if isinstance(report, Report):
        return chosen_exit(report, model)
    try:
        return chosen_exit(read_report(Path(report)), model)
    except ValueError as error:
        raise InputError(f"{report}: {error}") from error


def read_images(
    path: str | Path | None, *, image_size: int, class_names: tuple[str, ...], limit: int
) -> NamedImages | None:
    """Read images for a model; None for no path.

    Args:
        path: As ``read_pictures`` takes it.
        image_size: Edge in pixels of the images that the model takes.
        class_names: Its classes.
        limit: How many to take at most.

    Raises:
        InputError: The path is missing or damaged, or holds no images.
    """
    if path is None:
        return None
    pixels = read_pictures(Path(path), image_size=image_size, class_names=class_names, limit=limit)
    return NamedImages(name=Path(path).name, pixels=pixels)

"""How is a model measured at every exit, exporting it first where the runtime needs that?

The one place where profiling and exporting meet.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from reefl_edge.bundles.artifacts import Precision
from reefl_edge.checkpoints.checkpoint import write_checkpoint
from reefl_edge.checkpoints.hashes import weights_sha256
from reefl_edge.devices.links.base import Link
from reefl_edge.devices.links.opening import link_for
from reefl_edge.jobs.job import MeasurementJob
from reefl_edge.jobs.sources import BundleFolder, CheckpointFile, ModelSource, RandomWeights
from reefl_edge.partials import scratch_folder
from reefl_edge.profiling.measure import (
    DEFAULT_BATCH_SIZE,
    inference_jobs,
    measure_report,
    step_jobs,
)
from reefl_edge.profiling.report import RANDOM_WEIGHTS, Report
from reefl_edge.runtimes.base import RuntimeName, default_threads
from reefl_edge.runtimes.opening import check_precision
from reefl_edge.submodel import Regime
from reefl_edge.tasks.models import Model
from reefl_export.bundle import Origin, export_checkpoint
from reefl_export.recipe import recipe_for

OnStage = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileRequest:
    """What to measure.

    Attributes:
        runtime: What runs inference; a fine-tuning step always runs on eager.
        precision: Of inference.
        threads: Threads to compute with; None for one per core this process may use.
        regime: Which arrays the step trains; None to measure no step.
        batch_size: Images of a step.

    Raises:
        ValueError: The runtime does not compute in the precision.
    """

    runtime: RuntimeName = "onnx"
    precision: Precision = "fp32"
    threads: int | None = None
    regime: Regime | None = "frozen"
    batch_size: int = DEFAULT_BATCH_SIZE

    def __post_init__(self) -> None:
        check_precision(self.runtime, self.precision)
        if self.runtime != "eager":
            recipe_for(self.runtime, self.precision)

    def check(self, model: Model) -> None:
        """Hold what to measure to a model.

        Raises:
            ValueError: Exporting in the precision takes images, and the model is no bundle; or it
                cannot be trained under the regime.
        """
        if (
            self.runtime != "eager"
            and model.bundle_path is None
            and recipe_for(self.runtime, self.precision).needs_calibration
        ):
            raise ValueError(f"{self.precision} needs images: export it, and profile the bundle")
        if self.regime is not None:
            model.checkpoint.submodel.with_regime(self.regime)


def profile_model(
    model: Model,
    request: ProfileRequest | None = None,
    *,
    device: str | Link = "local",
    on_stage: OnStage = lambda _: None,
    on_row: Callable[[int, int], None] = lambda _done, _total: None,
) -> Report:
    """Measure every exit of a model, each in fresh processes.

    Args:
        model: The model, cut at the deepest exit to measure.
        request: What to measure.
        device: Where: ``local``, the name of a device profile, or a link.
        on_stage: Called with a description of each stage as it begins.
        on_row: Called after every measurement with those done and those to do.

    Raises:
        ValueError: As for ``ProfileRequest.check``, or no device has this name.
        DeviceError: The device cannot be reached.
        MeasurementError: A measuring process died.
        MissingToolchainError: A package is not installed.
    """
    request = request or ProfileRequest()
    request.check(model)
    link = link_for(device) if isinstance(device, str) else device
    with scratch_folder() as folder:
        files: dict[str, Path] = {}
        threads = link.describe().threads(request.threads)
        request = replace(request, threads=threads)
        jobs = _jobs(model, request, folder, files, on_stage)
        on_row(0, len(jobs))
        done = iter(range(1, len(jobs) + 1))
        on_stage(f"measure {len(jobs)} fresh processes")
        return measure_report(
            link,
            jobs,
            files,
            model=model.name,
            weights=(
                RANDOM_WEIGHTS
                if model.checkpoint.random == "everything"
                else weights_sha256(model.checkpoint.arrays)
            ),
            on_row=lambda _: on_row(next(done), len(jobs)),
        )


def _jobs(
    model: Model,
    request: ProfileRequest,
    folder: Path,
    files: dict[str, Path],
    on_stage: OnStage,
) -> tuple[MeasurementJob, ...]:
    submodel = model.checkpoint.submodel
    threads = request.threads or default_threads()
    weights = _weights_source(model, folder, files)
    jobs = inference_jobs(
        submodel.folded(),
        _inference_source(model, request, weights, folder, files, on_stage),
        runtime=request.runtime,
        precision=request.precision,
        threads=threads,
    )
    if request.regime is None:
        return jobs
    return jobs + step_jobs(
        submodel.with_regime(request.regime),
        weights,
        threads=threads,
        batch_size=request.batch_size,
    )


def _weights_source(model: Model, folder: Path, files: dict[str, Path]) -> ModelSource:
    """Give the weights to a fresh process: the file, or one written for it from a foreign model."""
    if model.checkpoint_path is None and model.checkpoint.random == "everything":
        return RandomWeights(seed=model.seed)
    path = model.checkpoint_path
    if path is None:
        path = folder / "model.safetensors"
        write_checkpoint(model.checkpoint, path)
    source = CheckpointFile.of(path)
    files[source.sha256] = path
    return source


def _inference_source(
    model: Model,
    request: ProfileRequest,
    weights: ModelSource,
    folder: Path,
    files: dict[str, Path],
    on_stage: OnStage,
) -> ModelSource:
    """Give what the runtime loads: eager the weights, the others a bundle, exported if need be."""
    if request.runtime == "eager":
        return weights
    bundle = model.bundle_path or _export(model, request, folder / "bundle", on_stage)
    source = BundleFolder.of(bundle)
    files[source.sha256] = bundle
    return source


def _export(model: Model, request: ProfileRequest, folder: Path, on_stage: OnStage) -> Path:
    assert request.runtime != "eager"  # which loads the weights as they are
    exported = export_checkpoint(
        model.checkpoint,
        folder,
        [recipe_for(request.runtime, request.precision)],
        Origin(name=model.name),
        threads=request.threads,
        on_stage=on_stage,
    )
    return exported.bundle.directory

"""How is a model measured at every exit, exporting it first where the runtime needs that?

The one place where profiling and exporting meet.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from reefl_edge.cli.models import Model
from reefl_edge.devices.links.base import Link
from reefl_edge.jobs.job import MeasurementJob
from reefl_edge.jobs.sources import BundleFolder, CheckpointFile, ModelSource, RandomWeights
from reefl_edge.manifest import Precision
from reefl_edge.partials import scratch_folder
from reefl_edge.profiling.measure import inference_jobs, measure_report, step_jobs
from reefl_edge.profiling.report import RANDOM_WEIGHTS, Report
from reefl_edge.runtimes.base import RuntimeName
from reefl_edge.submodel import Regime
from reefl_edge.weights import weights_sha256, write_checkpoint
from reefl_export.recipe import ExportRecipe, recipe_for

OnStage = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileRequest:
    """What to measure.

    Attributes:
        model: The model, cut at the deepest exit to measure.
        runtime: What runs inference; a fine-tuning step always runs on eager.
        precision: Of inference.
        threads: Threads to compute with.
        regime: Which arrays the step trains; None to measure no step.
        batch_size: Images of a step.
    """

    model: Model
    runtime: RuntimeName
    precision: Precision
    threads: int
    regime: Regime | None
    batch_size: int = 32


def profile_model(
    request: ProfileRequest,
    link: Link,
    *,
    on_stage: OnStage,
    on_row: Callable[[int, int], None],
) -> Report:
    """Measure every exit of a model.

    Args:
        request: What to measure.
        link: The way to the device.
        on_stage: Called with a description of each stage as it begins.
        on_row: Called after every measurement with those done and those to do.
    """
    model = request.model
    with scratch_folder() as folder:
        files: dict[str, Path] = {}
        weights = _weights_source(model, folder, files)
        source = _inference_source(request, weights, folder, files, on_stage)
        jobs = _jobs(request, source, weights)
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
    request: ProfileRequest, source: ModelSource, weights: ModelSource
) -> tuple[MeasurementJob, ...]:
    submodel = request.model.checkpoint.submodel
    jobs = inference_jobs(
        submodel.folded(),
        source,
        runtime=request.runtime,
        precision=request.precision,
        threads=request.threads,
    )
    if request.regime is None:
        return jobs
    return jobs + step_jobs(
        submodel.with_regime(request.regime),
        weights,
        threads=request.threads,
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
    request: ProfileRequest,
    weights: ModelSource,
    folder: Path,
    files: dict[str, Path],
    on_stage: OnStage,
) -> ModelSource:
    """Give what the runtime loads: eager the weights, the others a bundle, exported if need be."""
    model, runtime = request.model, request.runtime
    if runtime == "eager":
        return weights
    bundle = model.bundle_path
    if bundle is None:
        recipe = recipe_for(runtime, request.precision)
        bundle = _export(request, recipe, folder / "bundle", on_stage)
    source = BundleFolder.of(bundle)
    files[source.sha256] = bundle
    return source


def _export(request: ProfileRequest, recipe: ExportRecipe, folder: Path, on_stage: OnStage) -> Path:
    from reefl_export.bundle import Origin, export_checkpoint

    model = request.model
    exported = export_checkpoint(
        model.checkpoint,
        folder,
        [recipe],
        Origin(name=model.name),
        threads=request.threads,
        on_stage=on_stage,
    )
    return exported.bundle.directory

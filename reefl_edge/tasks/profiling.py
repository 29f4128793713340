"""How is a model measured at every exit, exporting it first where the runtime needs that?

The one place where profiling and exporting meet.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Self, get_args

from reefl_edge.bundles.artifacts import Precision
from reefl_edge.checkpoints.checkpoint import write_checkpoint
from reefl_edge.checkpoints.hashes import weights_sha256
from reefl_edge.devices.host import Host
from reefl_edge.devices.links.base import Link
from reefl_edge.devices.links.opening import link_for
from reefl_edge.finetune.compiled import StepperName
from reefl_edge.jobs.job import InferenceJob, Kind, StepJob
from reefl_edge.jobs.sources import (
    BundleFolder,
    CheckpointFile,
    Files,
    ModelSource,
    RandomWeights,
)
from reefl_edge.partials import scratch_folder
from reefl_edge.profiling.measure import inference_jobs, measure_report
from reefl_edge.profiling.passes import DEFAULT_NUM_PASSES, Meter, num_processes
from reefl_edge.profiling.readiness import Readiness
from reefl_edge.profiling.report import RANDOM_WEIGHTS, Report, Row
from reefl_edge.profiling.sweep import fastest_threads, thread_counts
from reefl_edge.runtimes.base import RuntimeName
from reefl_edge.runtimes.opening import check_precision
from reefl_edge.submodel import Regime, Submodel
from reefl_edge.tasks.models import Model
from reefl_edge.tasks.profiled_steps import ProfiledStep
from reefl_export.bundle import Origin, export_checkpoint
from reefl_export.recipe import recipe_for

OnStage = Callable[[str], None]
OnProcess = Callable[[int, int], None]

# A number of threads, or those that turn out to be the fastest; None for one per fast core.
Threads = int | Literal["auto"] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileRequest:
    """What to measure.

    Attributes:
        runtime: What runs inference.
        precision: Of inference.
        threads: Threads to compute with; ``auto`` tries how many are the fastest, of inference and
            of the step by itself; None for one per fast core there.
        regime: Which arrays the step trains; None to measure no step.
        step_runtime: What takes the step (``ProfiledStep.of``): the compiled one of a bundle, or
            one compiled for every exit, or PyTorch's; None for what the bundle holds, else eager;
            on a device with an agent, for a compiled ONNX step.
        batch_size: Images of a step; None for those that it was compiled for, and 32 on eager.
        num_passes: How often the latency of every exit is measured, in fresh processes.

    Raises:
        ValueError: The runtime does not compute in the precision, or nothing would be measured.
    """

    runtime: RuntimeName = "onnx"
    precision: Precision = "fp32"
    threads: Threads = None
    regime: Regime | None = "frozen"
    step_runtime: StepperName | None = None
    batch_size: int | None = None
    num_passes: int = DEFAULT_NUM_PASSES

    def __post_init__(self) -> None:
        check_precision(self.runtime, self.precision)
        if self.runtime != "eager":
            recipe_for(self.runtime, self.precision)
        if self.num_passes < 1:
            raise ValueError(f"need at least 1 pass, got {self.num_passes}")

    def on(self, link: Link) -> Self:
        """Return what is measured on a device: an agent's step is a compiled one.

        Raises:
            ValueError: An agent has not what is to compute.
        """
        if not link.has_agent:
            return self
        for name in (self.runtime, self.step_runtime):
            if name not in (None, "onnx"):
                raise ValueError(f"{link.name} computes with onnxruntime, not {name}")
        return self if self.regime is None else replace(self, step_runtime="onnx")

    def check(self, model: Model) -> None:
        """Hold what to measure to a model.

        Raises:
            ValueError: Exporting in the precision takes images, and the model is no bundle; or it
                cannot be trained under the regime, or its step takes another batch.
            InputError: The bundle has no such step.
        """
        if (
            self.runtime != "eager"
            and model.bundle_path is None
            and recipe_for(self.runtime, self.precision).needs_calibration
        ):
            raise ValueError(f"{self.precision} needs images: export it, and profile the bundle")
        if self.regime is not None:
            model.checkpoint.submodel.with_regime(self.regime)
        self.step(model)

    def step(self, model: Model) -> ProfiledStep | None:
        """Settle which training step of a model is measured, if one is; see ``ProfiledStep.of``."""
        if self.regime is None:
            return None
        return ProfiledStep.of(model, self.regime, self.step_runtime, self.batch_size)


def profile_model(
    model: Model,
    request: ProfileRequest | None = None,
    *,
    device: str | Link = "local",
    on_stage: OnStage = lambda _: None,
    on_process: OnProcess = lambda _done, _total: None,
) -> Report:
    """Measure every exit of a model, each in fresh processes.

    Args:
        model: The model, cut at the deepest exit to measure.
        request: What to measure.
        device: Where: ``local``, the name of a device profile, or a link.
        on_stage: Called with a description of each stage as it begins, and of what is waited for.
        on_process: Called after every process with those done and those to do.

    Raises:
        ValueError: As for ``ProfileRequest.check``, or no device has this name.
        DeviceError: The device cannot be reached, or is not fit to be measured.
        MeasurementError: A measuring process died.
        MissingToolchainError: A package is not installed.
    """
    link = link_for(device) if isinstance(device, str) else device
    request = (request or ProfileRequest()).on(link)
    request.check(model)
    host = link.describe()
    with scratch_folder() as folder:
        subject = _subject(model, request, host, folder, on_stage)
        tried = thread_counts(host) if request.threads == "auto" else ()
        to_try = tuple(jobs[-1] for count in tried for jobs in subject.jobs(count, count) if jobs)
        num_jobs = sum(map(len, subject.jobs(1, 1)))
        total = num_processes(len(to_try), 1) + num_processes(num_jobs, request.num_passes)
        numbers = iter(range(1, total + 1))
        meter = Meter(
            link=link,
            files=subject.files,
            readiness=Readiness(link, say=on_stage),
            on_process=lambda: on_process(next(numbers), total),
        )
        on_process(0, total)
        on_stage(f"measure {total} fresh processes")
        with link.held():
            sweep = meter.rows(to_try, num_passes=1)
            inference, step = (_threads(request, host, sweep, kind) for kind in get_args(Kind))
            return measure_report(
                meter,
                [job for jobs in subject.jobs(inference, step) for job in jobs],
                model=model.name,
                weights=(
                    RANDOM_WEIGHTS
                    if model.checkpoint.random == "everything"
                    else weights_sha256(model.checkpoint.arrays)
                ),
                num_passes=request.num_passes,
                sweep=sweep,
            )


def _threads(request: ProfileRequest, host: Host, sweep: tuple[Row, ...], kind: Kind) -> int:
    """Return how many threads compute: those asked for, or those that a sweep found."""
    if request.threads != "auto":
        return host.threads(request.threads)
    tried = [row for row in sweep if row.kind == kind]
    return fastest_threads(tried) if tried else host.threads(None)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Subject:
    """What is measured, and where its processes find it.

    Attributes:
        request: What to measure.
        submodel: The model, at the deepest exit to measure.
        host: The machine that computes.
        inference: What the runtime of inference loads.
        steps: What to measure of a training step, on one thread.
        files: Where all of this lies here.
    """

    request: ProfileRequest
    submodel: Submodel
    host: Host
    inference: ModelSource
    steps: tuple[StepJob, ...]
    files: Files

    def jobs(
        self, inference_threads: int, step_threads: int
    ) -> tuple[tuple[InferenceJob, ...], tuple[StepJob, ...]]:
        """List what to measure of inference, and of a step if one is asked for."""
        request = self.request
        inference = inference_jobs(
            self.submodel.folded(),
            self.inference,
            runtime=request.runtime,
            precision=request.precision,
            threads=inference_threads,
            cores=self.host.cores_for(inference_threads),
        )
        cores = self.host.cores_for(step_threads)
        steps = tuple(replace(step, threads=step_threads, cores=cores) for step in self.steps)
        return inference, steps


def _subject(
    model: Model, request: ProfileRequest, host: Host, folder: Path, on_stage: OnStage
) -> _Subject:
    files: dict[str, Path] = {}
    weights = _weights_source(model, folder, files)
    step = request.step(model)
    return _Subject(
        request=request,
        submodel=model.checkpoint.submodel,
        host=host,
        inference=_inference_source(model, request, weights, folder, files, on_stage),
        steps=() if step is None else step.jobs(model, weights, folder, files, on_stage),
        files=files,
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
        on_stage=on_stage,
    )
    return exported.bundle.directory

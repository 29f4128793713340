"""What exactly runs in a measuring process?

A *workload* is prepared in two steps, because memory is counted between them: first the imports,
then the load, which gives the function whose runs are timed.
"""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, assert_never

import numpy as np
from numpy.typing import NDArray

from reefl_edge.checkpoints.checkpoint import read_checkpoint
from reefl_edge.data.images import resize
from reefl_edge.errors import InputError
from reefl_edge.extras import needs_extra
from reefl_edge.finetune.compiled import CompiledName, step_for
from reefl_edge.finetune.rounds import NUM_ROUNDS, distill_weight, learning_rate
from reefl_edge.jobs.job import InferenceJob, MeasurementJob, StepJob
from reefl_edge.jobs.sources import BundleFolder, CheckpointFile, Files, RandomWeights
from reefl_edge.runtimes.base import Runtime, RuntimeName
from reefl_edge.runtimes.chain import run_chain
from reefl_edge.runtimes.opening import open_runtime
from reefl_edge.submodel import Submodel

if TYPE_CHECKING:
    from reefl_edge.finetune.steppers.base import Stepper
    from reefl_edge.models.reefl import ReeFL

Run = Callable[[], object]
Load = Callable[[], Run]

# What each runtime imports when it is first used: to be paid for before memory is counted.
_RUNTIME_MODULES: dict[RuntimeName, tuple[str, ...]] = {
    "onnx": ("reefl_edge.runtimes.onnx",),
    "executorch": (
        "reefl_edge.runtimes.executorch",
        "executorch.extension.pybindings.portable_lib",
        "executorch.runtime",
    ),
    "eager": ("reefl_edge.runtimes.eager",),
}


def import_workload(job: MeasurementJob, files: Files) -> Load:
    """Import what a job needs.

    Args:
        job: What to measure.
        files: Where what it names lies.

    Returns:
        What loads the model, and gives the function to time.

    Raises:
        MissingToolchainError: The runtime is not installed.
    """
    match job:
        case InferenceJob():
            return _inference(job, files)
        case StepJob():
            return _eager_step(job, files) if job.runtime == "eager" else _compiled_step(job, files)
        case _:
            assert_never(job)


def _inference(job: InferenceJob, files: Files) -> Load:
    if job.runtime != "onnx":
        _require_torch()
    with suppress(ImportError):  # opening the runtime says which extra is missing
        for module in _RUNTIME_MODULES[job.runtime]:
            import_module(module)

    open_model = _opening(job, files)

    def load() -> Run:
        runtime = open_model()
        images = random_images(job.batch_size, job.submodel.architecture.image_size)
        return lambda: run_chain(runtime, images, num_exits=job.submodel.num_exits)

    return load


def _opening(job: InferenceJob, files: Files) -> Callable[[], Runtime]:
    """Find what the job names; return what opens it."""
    if isinstance(job.source, BundleFolder):
        bundle = job.source.open(files)
        return partial(
            open_runtime,
            job.runtime,
            bundle,
            precision=job.precision,
            threads=job.threads,
            max_exit=job.submodel.max_exit,
        )
    load_network = _loading(job, files)

    def open_eager() -> Runtime:
        from reefl_edge.runtimes.eager import EagerRuntime

        return EagerRuntime(load_network(), threads=job.threads)

    return open_eager


def _eager_step(job: StepJob, files: Files) -> Load:
    _require_torch()
    import torch

    from reefl_edge.finetune.steppers.eager import EagerStepper

    load_network = _loading(job, files)

    def load() -> Run:
        torch.set_num_threads(job.threads)
        network = load_network()
        step = _stepping(job, EagerStepper(network))

        # What training starts from stays beside the copy that learns, as it does when fine-tuning.
        def run(_start: "ReeFL" = network) -> None:
            step()

        return run

    return load


def _compiled_step(job: StepJob, files: Files) -> Load:
    assert isinstance(job.source, BundleFolder)  # a job with any other source is none
    assert job.runtime != "eager"
    bundle = job.source.open(files)
    step = step_for(bundle, job.submodel.regime, job.runtime)
    if (step.submodel, step.batch_size) != (job.submodel, job.batch_size):
        raise InputError(
            f"the step was compiled for exits 0 to {step.submodel.max_exit} and "
            f"{step.batch_size} images, the job asks for exits 0 to {job.submodel.max_exit} and "
            f"{job.batch_size}, or for another network"
        )
    open_stepper = _stepper_opening(job.runtime)
    return lambda: _stepping(job, open_stepper(bundle, step, threads=job.threads))


def _stepper_opening(name: CompiledName) -> Callable[..., "Stepper"]:
    """Import what runs compiled steps; return what opens one."""
    match name:
        case "onnx":
            from reefl_edge.finetune.steppers.onnx import OnnxStepper

            return OnnxStepper.open
        case "executorch":
            with needs_extra("this measurement", ("executorch", "torch"), "executorch"):
                for module in _RUNTIME_MODULES[name]:
                    import_module(module)
                from reefl_edge.finetune.steppers.executorch import ExecuTorchStepper

            return ExecuTorchStepper.open
        case _:
            assert_never(name)


def _stepping(job: StepJob, stepper: "Stepper") -> Run:
    """Return what takes a step of a job, always on the same batch."""
    architecture = job.submodel.architecture
    # The smallest step there is: the batch must not be learnt by heart.
    return partial(
        stepper.step,
        random_images(job.batch_size, architecture.image_size),
        np.arange(job.batch_size) % architecture.num_classes,
        learning_rate=learning_rate(NUM_ROUNDS),
        distill_weight=distill_weight(1),
        teaches=None,
    )


def _loading(job: MeasurementJob, files: Files) -> Callable[[], "ReeFL"]:
    """Find the weights that the job names, and hold them to their hash; return what loads them."""
    match job.source:
        case CheckpointFile():
            return partial(_trained_network, job.submodel, job.source.path(files))
        case RandomWeights():
            from reefl_edge.models.arrays import random_network

            return partial(random_network, job.submodel, seed=job.source.seed)
        case BundleFolder():
            raise ValueError("a bundle is opened by its runtime")
        case _:
            assert_never(job.source)


def _trained_network(submodel: Submodel, path: Path) -> "ReeFL":
    from reefl_edge.models.arrays import network_from
    from reefl_edge.models.regime import with_regime

    # The file's hash is right, and who asks for the measurement was warned if need be.
    checkpoint = read_checkpoint(path, is_verified=True).cut(submodel.max_exit)
    # Adapters that the checkpoint lacks cost the same whatever they hold.
    return network_from(submodel, with_regime(checkpoint, submodel.regime, seed=0).arrays)


def random_images(batch_size: int, image_size: int) -> NDArray[np.uint8]:
    """Return smooth random images, as photographs are, (B, image_size, image_size, 3)."""
    coarse = np.random.default_rng(0).integers(0, 256, (batch_size, 8, 8, 3), dtype=np.uint8)
    return resize(coarse, image_size)


def _require_torch() -> None:
    with needs_extra("this measurement", "torch", "train"):
        import_module("torch")

"""Which runtime runs a bundle, on which artifact and how many threads, and how is it opened?"""

from typing import assert_never

from reefl_edge.bundles.artifacts import PRECISIONS_OF, Artifact, Precision
from reefl_edge.bundles.bundle import Bundle
from reefl_edge.errors import InputError
from reefl_edge.extras import needs_extra
from reefl_edge.runtimes.base import (
    Runtime,
    RuntimeName,
    check_threads,
    default_threads,
)


def open_runtime(
    name: RuntimeName,
    bundle: Bundle,
    *,
    precision: Precision | None = None,
    threads: int | None = None,
    max_exit: int | None = None,
    is_short_lived: bool = False,
) -> Runtime:
    """Load the segments of a bundle.

    Args:
        name: Which runtime.
        bundle: The bundle; it must hold the runtime's artifact.
        precision: Of the artifact; None for the first that the runtime can run.
        threads: Threads to compute with; None for what the bundle's device suggests, if it names
            one, but at most one per core this process may use.
        max_exit: The deepest exit to load; None for all.
        is_short_lived: Whether it will run a few times only, so that a quicker load is worth slower
            runs, where the runtime has that choice.

    Raises:
        InputError: The bundle lacks the artifact, or a file of it is missing or changed.
        MissingToolchainError: The runtime is not installed.
        ValueError: ``threads`` or ``max_exit`` is out of range, or ``precision`` is one in which
            the runtime does not compute.
    """
    threads = threads_for(bundle) if threads is None else threads
    check_threads(threads)
    artifact = artifact_for(name, bundle, precision)
    submodel = bundle.manifest.submodel
    depth = submodel if max_exit is None else submodel.cut(max_exit)
    match name:
        case "onnx":
            from reefl_edge.runtimes.onnx import OnnxRuntime

            return OnnxRuntime.open(
                bundle,
                artifact,
                depth.segments(),
                threads=threads,
                # Packing takes longer than all else of a load, and each run gains little by it.
                packs_weights=not is_short_lived,
            )
        case "executorch":
            with needs_extra("the ExecuTorch runtime", "torch", "executorch"):
                from reefl_edge.runtimes.executorch import ExecuTorchRuntime

            return ExecuTorchRuntime.open(bundle, artifact, depth.segments(), threads=threads)
        case "eager":
            with needs_extra("the eager runtime", "torch", "train"):
                from reefl_edge.runtimes.eager import EagerRuntime

            return EagerRuntime.open(bundle, depth, threads=threads)
        case _:
            assert_never(name)


def artifact_for(name: RuntimeName, bundle: Bundle, precision: Precision | None = None) -> Artifact:
    """Return the artifact of a bundle that a runtime loads; eager takes the float32 ONNX weights.

    Raises:
        InputError: The bundle has none.
        ValueError: The runtime does not compute in the precision.
    """
    check_precision(name, precision)
    return bundle.artifact("onnx", "fp32") if name == "eager" else bundle.artifact(name, precision)


def runtime_for(bundle: Bundle, precision: Precision | None = None) -> RuntimeName:
    """Return what runs a bundle here: onnxruntime, which loads quickest, or else ExecuTorch.

    Args:
        bundle: The bundle.
        precision: Of the artifact to run; None for any.

    Raises:
        InputError: The bundle has neither: Core ML runs on Apple's systems only.
    """
    targets = {
        artifact.target
        for artifact in bundle.manifest.artifacts
        if precision in (None, artifact.precision)
    }
    if "onnx" in targets:
        return "onnx"
    if "executorch" in targets:
        return "executorch"
    ours = PRECISIONS_OF["onnx"]
    way_out = "export it with --format onnx too"
    if precision is not None and precision not in ours:
        way_out = f"choose {', '.join(ours[:-1])} or {ours[-1]}"
    raise InputError(
        f"{bundle.directory} has no {precision or 'onnx or executorch'} artifact that runs here "
        f"(Core ML runs on Apple's systems only); {way_out}"
    )


def check_precision(runtime: RuntimeName, precision: Precision | None) -> None:
    """Refuse a precision in which a runtime does not compute; None is any.

    Raises:
        ValueError: It does not.
    """
    if runtime == "eager" and precision not in (None, "fp32"):
        raise ValueError(f"the eager runtime computes in fp32, not in {precision}")


def threads_for(bundle: Bundle) -> int:
    """Return what the bundle's device suggests, at most one thread per core, or one per core."""
    deployment = bundle.manifest.deployment
    cores = default_threads()
    return cores if deployment is None else min(cores, deployment.threads)

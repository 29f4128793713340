"""What must a runtime do, and which ones are there?

A runtime runs one segment at a time; which one comes next is decided outside. Inputs and outputs
follow ``Segment.inputs`` and ``Segment.outputs``; the logits always come last.
"""

import logging
import os
from collections.abc import Callable
from typing import Any, Literal, Protocol, assert_never, get_args

import numpy as np
from numpy.typing import NDArray

from reefl_edge.errors import InputError
from reefl_edge.extras import needs_extra
from reefl_edge.manifest import Bundle, Precision
from reefl_edge.names import closest

RuntimeName = Literal["onnx", "executorch", "eager"]
RUNTIMES: tuple[RuntimeName, ...] = get_args(RuntimeName)

Tensors = tuple[NDArray[Any], ...]

_log = logging.getLogger(__name__)


class Runtime(Protocol):
    """Runs the segments of one sub-model."""

    def run(self, exit_index: int, inputs: Tensors) -> Tensors:
        """Run the segment that ends at an exit.

        Args:
            exit_index: The exit to reach.
            inputs: ``Segment.inputs``, a batch of any size: uint8 images (B, H, W, 3) for the first
                segment, what the previous one gave (without its logits) for the others.

        Returns:
            ``Segment.outputs``; the logits (B, C) come last.
        """
        ...


def open_runtime(
    name: RuntimeName,
    bundle: Bundle,
    *,
    precision: Precision | None = None,
    threads: int | None = None,
    max_exit: int | None = None,
) -> Runtime:
    """Load the segments of a bundle.

    Args:
        name: Which runtime.
        bundle: The bundle; it must hold the runtime's artifact.
        precision: Of the artifact; None for the first that the runtime can run.
        threads: Threads to compute with; None for what the bundle's device suggests, if it names
            one, but at most one per core this process may use.
        max_exit: The deepest exit to load; None for all.

    Raises:
        InputError: The bundle lacks the artifact, or a file of it is missing or changed.
        MissingToolchainError: The runtime is not installed.
        ValueError: ``threads`` or ``max_exit`` is out of range, or ``precision`` is one in which
            the runtime does not compute.
    """
    threads = _threads_for(bundle) if threads is None else threads
    check_threads(threads)
    check_precision(name, precision)
    submodel = bundle.manifest.submodel
    depth = submodel if max_exit is None else submodel.cut(max_exit)
    match name:
        case "onnx":
            from reefl_edge.runtimes.onnx import OnnxRuntime

            artifact = bundle.artifact("onnx", precision)
            return OnnxRuntime.open(bundle, artifact, depth.segments(), threads=threads)
        case "executorch":
            with needs_extra("the ExecuTorch runtime", "torch", "executorch"):
                from reefl_edge.runtimes.executorch import ExecuTorchRuntime

            artifact = bundle.artifact("executorch", precision)
            return ExecuTorchRuntime.open(bundle, artifact, depth.segments(), threads=threads)
        case "eager":
            with needs_extra("the eager runtime", "torch", "train"):
                from reefl_edge.runtimes.eager import EagerRuntime

            return EagerRuntime.open(bundle, depth, threads=threads)
        case _:
            assert_never(name)


def parse_runtime(name: str) -> RuntimeName:
    """Return the runtime called ``name``.

    Raises:
        ValueError: There is none.
    """
    for runtime in RUNTIMES:
        if runtime == name:
            return runtime
    raise ValueError(f"no runtime is called {name!r}{closest(name, RUNTIMES)}")


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
    raise InputError(
        f"{bundle.directory} has no {precision or 'onnx or executorch'} artifact that runs here "
        "(Core ML runs on Apple's systems only); export it with --format onnx too"
    )


def check_precision(runtime: RuntimeName, precision: Precision | None) -> None:
    """Refuse a precision in which a runtime does not compute; None is any.

    Raises:
        ValueError: It does not.
    """
    if runtime == "eager" and precision not in (None, "fp32"):
        raise ValueError(f"the eager runtime computes in fp32, not in {precision}")


def check_threads(threads: int) -> None:
    """Refuse more threads than this machine has cores: they would wait for each other.

    Raises:
        ValueError: ``threads`` is below 1 or above the number of cores.
    """
    cores = os.cpu_count() or 1
    if not 1 <= threads <= cores:
        raise ValueError(f"threads must be from 1 to {cores}, the cores here, got {threads}")


def default_threads() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _threads_for(bundle: Bundle) -> int:
    deployment = bundle.manifest.deployment
    cores = default_threads()
    return cores if deployment is None else min(cores, deployment.threads)


def refusal(engine: str, what: str, error: Exception) -> InputError:
    """Return the error that says in one line what an engine has against a file.

    Args:
        engine: Its name and version.
        what: What it was to do, such as ``load bundle/model.pte``.
        error: What it said: the first line is passed on, the rest goes to the log.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    for line in lines[1:]:
        _log.debug("%s: %s", engine, line)
    return InputError(f"{engine} cannot {what}: {lines[0] if lines else type(error).__name__}")


def in_batches(
    run: Callable[[int, Tensors], Tensors], batch_sizes: tuple[int, ...], inputs: Tensors
) -> Tensors:
    """Run a batch of any size in parts of the sizes that can be run.

    Args:
        run: Runs one part, given its size, which is one of ``batch_sizes``.
        batch_sizes: The sizes, 1 among them.
        inputs: The whole batch.
    """
    parts: list[Tensors] = []
    start, total = 0, len(inputs[0])
    while start < total:
        size = max(size for size in batch_sizes if size <= total - start)
        parts.append(run(size, tuple(array[start : start + size] for array in inputs)))
        start += size
    return tuple(np.concatenate(arrays) for arrays in zip(*parts, strict=True))

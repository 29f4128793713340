"""What must a runtime do, and which ones are there?

A runtime runs one segment at a time; which one comes next is decided outside. Inputs and outputs
follow ``Segment.inputs`` and ``Segment.outputs``; the logits always come last.
"""

import os
from pathlib import Path
from typing import Any, Literal, Protocol, assert_never, get_args

from numpy.typing import NDArray

from reefl_edge.manifest import Bundle
from reefl_edge.names import closest

RuntimeName = Literal["onnx", "executorch", "eager"]
RUNTIMES: tuple[RuntimeName, ...] = get_args(RuntimeName)

Tensors = tuple[NDArray[Any], ...]


class Runtime(Protocol):
    """Runs the segments of one sub-model."""

    @property
    def batch_size(self) -> int | None:
        """The one batch size it takes; None for any."""
        ...

    def run(self, exit_index: int, inputs: Tensors) -> Tensors:
        """Run the segment that ends at an exit.

        Args:
            exit_index: The exit to reach.
            inputs: ``Segment.inputs``: uint8 images (B, H, W, 3) for the first segment, what the
                previous segment gave (without its logits) for the others.

        Returns:
            ``Segment.outputs``; the logits (B, C) come last.
        """
        ...


def open_runtime(
    name: RuntimeName, bundle: Bundle, *, threads: int | None = None, max_exit: int | None = None
) -> Runtime:
    """Load the segments of a bundle.

    Args:
        name: Which runtime.
        bundle: The bundle; it must hold the runtime's artifact.
        threads: Threads to compute with; None for one per core this process may use.
        max_exit: The deepest exit to load; None for all.

    Raises:
        InputError: The bundle lacks the artifact, or a file of it is missing or changed.
        MissingToolchainError: The runtime is not installed.
        ValueError: ``threads`` or ``max_exit`` is out of range.
    """
    threads = default_threads() if threads is None else threads
    if threads < 1:
        raise ValueError(f"threads must be at least 1, got {threads}")
    submodel = bundle.manifest.submodel
    depth = submodel if max_exit is None else submodel.cut(max_exit)
    match name:
        case "onnx":
            from reefl_edge.runtimes.onnx import OnnxRuntime

            return OnnxRuntime.open(bundle, depth.segments(), threads=threads)
        case "executorch":
            from reefl_edge.runtimes.executorch import ExecuTorchRuntime

            return ExecuTorchRuntime.open(bundle, depth.segments(), threads=threads)
        case "eager":
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


def default_threads() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def artifact_path(paths: dict[str, Path], name: str) -> Path:
    """Return the one file of an artifact whose path in the bundle ends in ``name``."""
    return next(path for relative, path in paths.items() if Path(relative).name == name)

"""What must a runtime do, and what do all of them share?

A runtime runs one segment at a time; which one comes next is decided outside. Inputs and outputs
follow ``Segment.inputs`` and ``Segment.outputs``; the logits always come last. Which runtime is
opened, and on which artifact, is chosen in ``opening.py``.
"""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from reefl_edge.errors import InputError

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

        Raises:
            InputError: The engine refuses to run it on these inputs.
        """
        ...


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


@contextmanager
def translated(engine: str, what: str, errors: tuple[type[Exception], ...]) -> Iterator[None]:
    """Turn what an engine raises in the block into an ``InputError``.

    Args:
        engine: Its name and version.
        what: What it is to do, such as ``load bundle/model.pte``.
        errors: What it raises.
    """
    try:
        yield
    except errors as error:
        raise refusal(engine, what, error) from error


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

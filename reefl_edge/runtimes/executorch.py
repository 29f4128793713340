"""How does ExecuTorch run a bundle: one method per segment?

ExecuTorch's Python runtime exchanges torch tensors.
"""

import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Self

import numpy as np
import torch

from reefl_edge.bundles.artifacts import Artifact, BundleFile
from reefl_edge.bundles.bundle import Bundle
from reefl_edge.bundles.facts import METADATA_KEY, hold_to_artifact
from reefl_edge.errors import InputError
from reefl_edge.extras import needs_extra
from reefl_edge.runtimes.base import Tensors, in_batches, translated
from reefl_edge.submodel import Segment

PROGRAM_NAME = "model.pte"

# The one method of a training step's program.
STEP_METHOD = "step"

# Where a program says that it is one, and that its sizes follow: without them, ExecuTorch 1.4
# ends the process. Source: executorch, schema/program.fbs (ET12) and schema/extended_header.cpp.
_IDENTIFIER, _HEADER_MAGIC = b"ET12", b"eh00"
HEAD_BYTES = 12

# What ExecuTorch's bindings make of errors; text that is no UTF-8 is a ValueError.
_ERRORS = (RuntimeError, ValueError, LookupError, MemoryError)
translated_errors = partial(translated, "ExecuTorch", errors=_ERRORS)


class ExecuTorchRuntime:
    """Segments as the methods of one ExecuTorch program."""

    def __init__(
        self, program: Any, segments: tuple[Segment, ...], batch_sizes: tuple[int, ...]
    ) -> None:
        self._program = program
        self._segments = segments
        self._batch_sizes = batch_sizes

    @classmethod
    def open(
        cls, bundle: Bundle, artifact: Artifact, segments: tuple[Segment, ...], *, threads: int
    ) -> Self:
        """Load the methods of an ExecuTorch artifact of a bundle that take one image.

        Those of larger batches are loaded when there is such a batch: each takes memory.

        Raises:
            InputError: A file is missing or changed, ExecuTorch refuses it, or the manifest says
                otherwise than it does.
            MissingToolchainError: ExecuTorch is not installed.
        """
        path, program = hold_program(bundle, artifact, threads=threads)
        names = {method_name(each, size) for each in segments for size in artifact.batch_sizes}
        missing = sorted(names - program.method_names)
        if missing:
            raise InputError(f"{path} has no {', '.join(missing)}; export the bundle again")
        with quiet_engine(), translated_errors(f"load {path}"):
            for segment in segments:
                program.load_method(method_name(segment, 1))
        return cls(program, segments, artifact.batch_sizes)

    def run(self, exit_index: int, inputs: Tensors) -> Tensors:
        """Run one segment; see ``Runtime.run``."""
        segment = self._segments[exit_index]

        def run_part(size: int, part: Tensors) -> Tensors:
            tensors = [
                torch.from_numpy(np.require(array, requirements=("C", "W"))) for array in part
            ]
            name = method_name(segment, size)
            with translated_errors(f"run {name}"):
                method = self._program.load_method(name)  # keeps what it loaded
                return tuple(out.numpy().copy() for out in outputs_in_place(method, tensors))

        return in_batches(run_part, self._batch_sizes, inputs)


def hold_program(bundle: Bundle, artifact: Artifact, *, threads: int) -> tuple[Path, Any]:
    """Load an ExecuTorch artifact without its methods, and hold a bundle's manifest to it.

    Returns:
        Where it lies, and the ``executorch.runtime.Program``.

    Raises:
        InputError: It is missing or changed, the manifest says something else, or ExecuTorch
            refuses it.
        MissingToolchainError: ExecuTorch is not installed.
    """
    listed = bundle.listed(artifact, PROGRAM_NAME)
    path, program = open_program(bundle, listed, threads=threads)
    hold_to_artifact(bundle, stated_facts(program, path), path)
    return path, program


def open_program(bundle: Bundle, listed: BundleFile, *, threads: int) -> tuple[Path, Any]:
    """Map a program of a bundle into memory, without its methods, which keep what they read.

    Returns:
        Where it lies, and the ``executorch.runtime.Program``.

    Raises:
        InputError: It is missing or changed, or ExecuTorch refuses it.
        MissingToolchainError: ExecuTorch is not installed.
    """
    path = bundle.directory / listed.path
    with listed.held_open(bundle.directory) as file:
        head = file.read(HEAD_BYTES)
        return path, load_program(_same_file(file, path), head, path, threads=threads)


def _same_file(file: BinaryIO, path: Path) -> Path:
    """Return a path to an open file, which nothing that takes its place changes, if there is one.

    ExecuTorch maps programs into memory by their path; one read by us would be there twice, and
    have to outlive every method, which the bindings do not see to.
    """
    by_descriptor = Path(f"/dev/fd/{file.fileno()}")
    return by_descriptor if by_descriptor.exists() else path


def load_program(source: Path, head: bytes, path: Path, *, threads: int) -> Any:
    """Load a program without its methods: an ``executorch.runtime.Program``.

    Args:
        source: What to map into memory.
        head: Its first ``HEAD_BYTES`` bytes.
        path: Where it lies.
        threads: Threads to compute with.

    Raises:
        InputError: ExecuTorch refuses it.
        MissingToolchainError: ExecuTorch is not installed.
    """
    if head[4:8] != _IDENTIFIER or head[8:HEAD_BYTES] != _HEADER_MAGIC:
        raise InputError(f"{path} is no ExecuTorch program; export the bundle again")
    with quiet_engine():
        with needs_extra("the ExecuTorch runtime", "executorch", "executorch"):
            from executorch.extension.pybindings import portable_lib
            from executorch.runtime import Runtime as Engine
            from executorch.runtime import Verification
        portable_lib._unsafe_reset_threadpool(threads)
        with translated_errors(f"load {path}"):
            # Checks that what the file points at lies within it: an accident in a file becomes an
            # error. Against intent it is no protection (docs/deploy.md).
            return Engine.get().load_program(source, verification=Verification.InternalConsistency)


def outputs_in_place(method: Any, inputs: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Run a method, and give its outputs as they lie in its memory, which its next run overwrites.

    What ``execute`` clones, PyTorch copies on threads of its own, which then wait for more on the
    cores that the next run needs.
    """
    outputs: list[torch.Tensor] = method._method(inputs, clone_outputs=False)
    return outputs


def stated_facts(program: Any, path: Path) -> str | None:
    """Return the facts that a program holds, as JSON; None if it holds none."""
    if METADATA_KEY not in program.method_names:
        return None
    with quiet_engine(), translated_errors(f"read the facts in {path}"):
        return str(*program.load_method(METADATA_KEY).execute([]))


def method_name(segment: Segment, batch_size: int) -> str:
    """Return the name of the method that runs a segment on batches of a size."""
    return segment.name if batch_size == 1 else f"{segment.name}_batch_{batch_size}"


@contextmanager
def quiet_engine() -> Iterator[None]:
    """Drop what ExecuTorch prints and warns of while it loads; errors are raised.

    It speaks of processor files it did not find, the size of its thread pool, and that its Python
    interface is experimental.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    saved = [os.dup(1), os.dup(2)]  # native code prints past Python's streams
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for descriptor, copy in zip((1, 2), saved, strict=True):
            os.dup2(copy, descriptor)
            os.close(copy)
        os.close(nowhere)

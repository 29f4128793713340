"""How does ExecuTorch run a bundle: one method per segment?

ExecuTorch's Python runtime exchanges torch tensors, and prints while it is imported; what it prints
goes to stderr.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

import numpy as np
import torch

from reefl_edge.errors import InputError, MissingToolchainError
from reefl_edge.manifest import Bundle
from reefl_edge.runtimes.base import Tensors, artifact_path
from reefl_edge.submodel import Segment

PROGRAM_NAME = "model.pte"


class ExecuTorchRuntime:
    """Segments as the methods of one ExecuTorch program."""

    def __init__(self, program: Any, methods: list[Any], *, batch_size: int | None) -> None:
        self._program = program  # the methods read its memory
        self._methods = methods
        self.batch_size = batch_size

    @classmethod
    def open(cls, bundle: Bundle, segments: tuple[Segment, ...], *, threads: int) -> Self:
        """Load the ExecuTorch methods of a bundle.

        Raises:
            InputError: The bundle has no ExecuTorch artifact, or ExecuTorch refuses it.
            MissingToolchainError: ExecuTorch is not installed.
        """
        path = artifact_path(bundle.verified_paths("executorch"), PROGRAM_NAME)
        with _stdout_to_stderr():
            try:
                from executorch.extension.pybindings import portable_lib
                from executorch.runtime import Runtime as Engine
            except ImportError as error:
                raise MissingToolchainError.for_extra(
                    "the ExecuTorch runtime", "executorch", "executorch"
                ) from error
            portable_lib._unsafe_reset_threadpool(threads)
            try:
                program = Engine.get().load_program(path)
                methods = [program.load_method(segment.name) for segment in segments]
            except RuntimeError as error:
                raise InputError(f"ExecuTorch cannot load {path}: {error}") from error
        return cls(program, methods, batch_size=bundle.artifact("executorch").batch_size)

    def run(self, exit_index: int, inputs: Tensors) -> Tensors:
        """Run one segment; see ``Runtime.run``."""
        tensors = [torch.from_numpy(np.ascontiguousarray(array)) for array in inputs]
        # The outputs lie in the method's memory, which its next call overwrites.
        return tuple(out.numpy().copy() for out in self._methods[exit_index].execute(tensors))


@contextmanager
def _stdout_to_stderr() -> Iterator[None]:
    """Send what native code prints to stderr, so that a document on stdout stays one."""
    sys.stdout.flush()
    saved = os.dup(1)
    try:
        os.dup2(2, 1)
        yield
    finally:
        os.dup2(saved, 1)
        os.close(saved)

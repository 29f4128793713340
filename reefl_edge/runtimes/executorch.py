"""How does ExecuTorch run a bundle: one method per segment?

ExecuTorch's Python runtime exchanges torch tensors.
"""

import os
import sys
import warnings
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
        with _quiet():
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
        tensors = [torch.from_numpy(np.require(array, requirements=("C", "W"))) for array in inputs]
        # The outputs lie in the method's memory, which its next call overwrites.
        return tuple(out.numpy().copy() for out in self._methods[exit_index].execute(tensors))


@contextmanager
def _quiet() -> Iterator[None]:
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

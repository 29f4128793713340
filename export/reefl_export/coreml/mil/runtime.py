"""How is a Core ML package of a bundle run where there is no Core ML?"""

from pathlib import Path
from typing import Self

import numpy as np
import torch

from reefl_edge.bundles.artifacts import Artifact
from reefl_edge.bundles.bundle import Bundle
from reefl_edge.errors import ParityError
from reefl_edge.runtimes.base import Tensors, in_batches, translated
from reefl_edge.submodel import Segment
from reefl_export.coreml.mil.constants import Constants
from reefl_export.coreml.mil.function import Function
from reefl_export.coreml.mil.package import WEIGHTS_PATH, load_spec, verified_package
from reefl_export.given_back import give_back


class MilRuntime:
    """Segments as functions of an ML program, run with PyTorch, one example after the other.

    Args:
        path: The package.
        segments: The segments to load.
        threads: Threads to compute with.

    Raises:
        MissingToolchainError: coremltools is not installed.
        ParityError: The package lacks a segment, or uses what is not known here.
    """

    def __init__(self, path: Path, segments: tuple[Segment, ...], *, threads: int) -> None:
        torch.set_num_threads(threads)
        functions = load_spec(path).mlProgram.functions
        missing = [segment.name for segment in segments if segment.name not in functions]
        if missing:
            raise ParityError(f"{path.name} lacks {', '.join(missing)}")
        constants = Constants(path / WEIGHTS_PATH)
        self._segments = segments
        self._functions: list[Function] = []
        for segment in segments:
            self._functions.append(Function(segment.name, functions[segment.name], constants))
            give_back()  # what its constants were made of

    @classmethod
    def open(
        cls, bundle: Bundle, artifact: Artifact, segments: tuple[Segment, ...], *, threads: int
    ) -> Self:
        """Load the segments of a Core ML artifact of a bundle.

        Raises:
            InputError: A file is missing or changed, or the manifest says otherwise than it does.
            MissingToolchainError: coremltools is not installed.
            ParityError: The package lacks a segment, or uses what is not known here.
        """
        return cls(verified_package(bundle, artifact), segments, threads=threads)

    def run(self, exit_index: int, inputs: Tensors) -> Tensors:
        """Run one segment; see ``Runtime.run``."""
        return in_batches(lambda _, example: self._run_one(exit_index, example), (1,), inputs)

    def _run_one(self, exit_index: int, inputs: Tensors) -> Tensors:
        segment = self._segments[exit_index]
        if exit_index == 0:  # Core ML hands an image over as numbers from 0 to 255, (1, 3, H, W)
            inputs = tuple(images.transpose(0, 3, 1, 2).astype(np.float32) for images in inputs)
        named = dict(zip((spec.name for spec in segment.inputs), inputs, strict=True))
        with translated("the check of Core ML programs", f"run {segment.name}", (ValueError,)):
            outputs = self._functions[exit_index].run(named)
        return tuple(outputs[spec.name] for spec in segment.outputs)

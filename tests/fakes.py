"""Stand-ins for what the tests do not want to run."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reefl_edge.array_files import Arrays
from reefl_edge.finetune.steppers.base import StepMetrics
from reefl_edge.manifest import (
    Artifact,
    BundleFile,
    Manifest,
    Target,
    same_threshold,
    signatures,
)
from reefl_edge.runtimes.base import Tensors
from reefl_edge.submodel import Architecture, ExitSchedule, Submodel

TINY_ARCHITECTURE = Architecture(
    width=16,
    num_heads=2,
    num_blocks=4,
    patch_size=8,
    image_size=16,
    num_classes=3,
    mean=(0.5, 0.4, 0.3),
    std=(0.2, 0.25, 0.3),
)


def tiny_submodel(
    *, num_blocks: int = 4, num_exits: int = 2, max_exit: int | None = None
) -> Submodel:
    """Return a sub-model that computes in no time."""
    return Submodel(
        architecture=replace(TINY_ARCHITECTURE, num_blocks=num_blocks),
        schedule=ExitSchedule.evenly_spaced(num_blocks=num_blocks, num_exits=num_exits),
        max_exit=num_exits - 1 if max_exit is None else max_exit,
    )


def listed_file(path: str = "onnx/segment_0.onnx") -> BundleFile:
    """Return an entry of a manifest for a file that need not exist."""
    return BundleFile(path=path, size_bytes=1, sha256="0" * 64)


def listed_artifact(target: Target, *paths: str) -> Artifact:
    """Return a manifest's entry for a float32 artifact whose files need not exist."""
    return Artifact(
        target=target,
        delegate="xnnpack" if target == "executorch" else None,
        precision="fp32",
        batch_sizes=() if target == "onnx" else (1,),
        toolchain={},
        files=tuple(map(listed_file, paths or ("model",))),
    )


def tiny_manifest(*artifacts: Artifact) -> Manifest:
    """Return a manifest of ``tiny_submodel`` with three classes."""
    submodel = tiny_submodel()
    return Manifest(
        name="tiny",
        created_at="2026-01-31T12:00:00+00:00",
        submodel=submodel,
        weights_sha256="0" * 64,
        has_random_weights=False,
        class_names=("a", "b", "c"),
        segments=signatures(submodel),
        artifacts=artifacts,
        thresholds=same_threshold(artifacts, 0.8),
    )


def random_images(count: int, *, edge: int = 16, seed: int = 0) -> NDArray[np.uint8]:
    """Return 8-bit images of noise, (count, edge, edge, 3)."""
    return np.random.default_rng(seed).integers(0, 256, (count, edge, edge, 3), dtype=np.uint8)


class FakeStepper:
    """Notes what it is given to train on, and learns nothing.

    Args:
        submodel: What it says it trains.
    """

    def __init__(self, submodel: Submodel) -> None:
        self.running_losses = np.zeros(submodel.num_exits, np.float32)
        self.submodel = submodel
        self.batches: list[tuple[NDArray[np.uint8], NDArray[np.int64]]] = []
        self.settings: list[dict[str, Any]] = []

    def step(
        self, images: NDArray[np.uint8], labels: NDArray[np.int64], **settings: Any
    ) -> StepMetrics:
        """Note the batch; every step's loss is its number."""
        self.batches.append((images, labels))
        self.settings.append(settings)
        return StepMetrics(
            loss=float(len(self.batches)), exit_losses=self.running_losses, teacher_index=0
        )

    def arrays(self) -> Arrays:
        """Return zeros."""
        return {
            spec.name: np.zeros(spec.shape, np.float32) for spec in self.submodel.trained_arrays()
        }

    def load(self, arrays: Arrays) -> None:
        """Take no notice."""


class FakeRuntime:
    """Answers with prepared logits; an image's first pixel says which example it is.

    Args:
        logits: Logits of every exit and example, (E, N, C).
    """

    def __init__(self, logits: NDArray[np.float32]) -> None:
        self.batches: list[tuple[int, list[int]]] = []
        self._logits = logits

    def run(self, exit_index: int, inputs: Tensors) -> Tensors:
        """Note which examples came, and answer with their logits."""
        examples = inputs[0][:, 0, 0, 0] if exit_index == 0 else inputs[0][:, 0, 0]
        numbers = examples.astype(int)
        self.batches.append((exit_index, numbers.tolist()))
        tokens = numbers.astype(np.float32)[:, None, None]
        logits = self._logits[exit_index, numbers]
        if exit_index == len(self._logits) - 1:
            return (logits,)
        return tokens, tokens, tokens, logits


def numbered_images(numbers: Sequence[int], *, edge: int = 16) -> NDArray[np.uint8]:
    """Return black images whose first pixel holds a number, for ``FakeRuntime``."""
    images = np.zeros((len(numbers), edge, edge, 3), np.uint8)
    images[:, 0, 0, 0] = numbers
    return images


def confident_logits(confidences: Any) -> NDArray[np.float32]:
    """Return logits of three classes whose class 0 has the given probabilities, (..., 3)."""
    first = np.asarray(confidences, np.float64)
    rest = (1 - first) / 2
    logits: NDArray[np.float32] = np.log(np.stack([first, rest, rest], -1)).astype(np.float32)
    return logits

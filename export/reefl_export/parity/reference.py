"""How are the artifacts of a bundle run beside what they are held to?

That is the network they were made from; or, where there is no PyTorch, the bundle's own float32
ONNX artifact.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Self, assert_never

from reefl_edge.bundles.artifacts import Artifact
from reefl_edge.bundles.bundle import Bundle
from reefl_edge.checkpoints.checkpoint import Checkpoint
from reefl_edge.extras import needs_extra
from reefl_edge.runtimes.base import Runtime
from reefl_edge.runtimes.chain import Logits
from reefl_edge.runtimes.opening import open_runtime
from reefl_edge.submodel import Submodel
from reefl_export.images import NamedImages
from reefl_export.parity.comparison import (
    BATCH_SIZE,
    ParityReport,
    ParityRow,
    ReferenceKind,
    chain_logits,
    compare,
    worst_row,
)
from reefl_export.parity.gate import Gate
from reefl_export.parity.step import StepRow

if TYPE_CHECKING:
    from reefl_edge.models.reefl import ReeFL


class Reference:
    """What artifacts are held to; its logits are computed once, when first asked for.

    Args:
        submodel: What it is the network of.
        images: What to compare on.
        threshold: The confidence at which to stop; None for never.
        kind: What it is, for the report.
        opened: Opens what computes it.
        threads: Threads to run it and the artifacts with: one process has one pool of them.

    Raises:
        ValueError: The images do not fit the sub-model.
    """

    def __init__(
        self,
        submodel: Submodel,
        images: NamedImages,
        threshold: float | None,
        *,
        kind: ReferenceKind,
        opened: Callable[[], Runtime],
        threads: int,
    ) -> None:
        images.fits(submodel)
        self.images = images
        self.threshold = threshold
        self._submodel = submodel
        self._kind: ReferenceKind = kind
        self._opened = opened
        self._threads = threads

    @classmethod
    def of_network(
        cls, checkpoint: Checkpoint, images: NamedImages, threshold: float | None, *, threads: int
    ) -> Self:
        """Hold artifacts to a network, which PyTorch runs.

        Args:
            checkpoint: The network's arrays, as they were trained.
            images: What to compare on.
            threshold: The confidence at which to stop; None for never.
            threads: Threads to run both with.

        Raises:
            ValueError: The images do not fit the network.
        """

        def opened() -> Runtime:
            network = network_of(checkpoint)
            from reefl_edge.runtimes.eager import EagerRuntime

            return EagerRuntime(network, threads=threads)

        return cls(
            checkpoint.submodel, images, threshold, kind="network", opened=opened, threads=threads
        )

    @classmethod
    def of_onnx(
        cls, bundle: Bundle, images: NamedImages, threshold: float | None, *, threads: int
    ) -> Self:
        """Hold the artifacts of a bundle to its float32 ONNX artifact, which onnxruntime runs.

        Args:
            bundle: The bundle.
            images: What to compare on.
            threshold: The confidence at which to stop; None for never.
            threads: Threads to run all with.

        Raises:
            ValueError: The images do not fit the bundle's sub-model.
        """
        return cls(
            bundle.manifest.submodel,
            images,
            threshold,
            kind="onnx-fp32",
            opened=lambda: open_runtime("onnx", bundle, precision="fp32", threads=threads),
            threads=threads,
        )

    def rows(self, bundle: Bundle, artifact: Artifact) -> tuple[ParityRow, ...]:
        """Compare an artifact of a bundle with the reference, at every batch size it was made for.

        Returns:
            A row per exit: of several batch sizes, the one with the largest error.

        Raises:
            InputError: A file of the artifact is missing or changed.
            MissingToolchainError: Its runtime is not installed.
            ParityError: It cannot be run.
        """
        num_exits = bundle.manifest.submodel.num_exits
        expected = self._logits[:num_exits]  # first, so that its memory is free again
        runtime = _runtime(bundle, artifact, threads=self._threads)
        compared = [
            compare(
                artifact,
                expected,
                chain_logits(runtime, self.images.pixels, num_exits=num_exits, batch_size=size),
                threshold=self.threshold,
            )
            for size in artifact.batch_sizes or (BATCH_SIZE,)
        ]
        return tuple(worst_row(rows) for rows in zip(*compared, strict=True))

    def report(
        self, gates: Mapping[str, Gate], rows: Iterable[ParityRow], steps: Iterable[StepRow] = ()
    ) -> ParityReport:
        """Put together the report of rows that were compared with this reference on its images.

        Args:
            gates: What the rows are held to, by ``FORMAT-PRECISION``.
            rows: One per artifact and exit.
            steps: One per training artifact and array.
        """
        return ParityReport(
            images=self.images.name,
            num_images=len(self.images.pixels),
            threshold=self.threshold,
            reference=self._kind,
            gates=dict(gates),
            rows=tuple(rows),
            steps=tuple(steps),
        )

    @cached_property
    def _logits(self) -> list[Logits]:
        num_exits = self._submodel.num_exits
        return chain_logits(self._opened(), self.images.pixels, num_exits=num_exits)


def network_of(checkpoint: Checkpoint) -> "ReeFL":
    """Return the network of a checkpoint, which reads the checkpoint's own arrays.

    Raises:
        MissingToolchainError: PyTorch is not installed.
    """
    with needs_extra("exporting", "torch", "train"):
        from reefl_edge.models.arrays import network_from
    return network_from(checkpoint.submodel, checkpoint.arrays, is_shared=True)


def _runtime(bundle: Bundle, artifact: Artifact, *, threads: int) -> Runtime:
    match artifact.target:
        case "executorch" | "onnx":
            return open_runtime(
                artifact.target, bundle, precision=artifact.precision, threads=threads
            )
        case "coreml":
            from reefl_export.coreml.mil import MilRuntime

            segments = bundle.manifest.submodel.segments()
            return MilRuntime.open(bundle, artifact, segments, threads=threads)
        case _:
            assert_never(artifact.target)

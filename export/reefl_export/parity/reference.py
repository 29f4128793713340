"""How are the artifacts of a bundle run beside the network they were made from?"""

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, assert_never

from reefl_edge.bundles.artifacts import Artifact
from reefl_edge.bundles.bundle import Bundle
from reefl_edge.checkpoints.checkpoint import Checkpoint
from reefl_edge.extras import needs_extra
from reefl_edge.runtimes.base import Runtime
from reefl_edge.runtimes.chain import Logits
from reefl_edge.runtimes.opening import open_runtime
from reefl_export.images import NamedImages
from reefl_export.parity.comparison import (
    BATCH_SIZE,
    ParityReport,
    ParityRow,
    chain_logits,
    compare,
    worst_row,
)
from reefl_export.parity.gate import Gate
from reefl_export.parity.step import StepRow

if TYPE_CHECKING:
    from reefl_edge.models.reefl import ReeFL


class Reference:
    """The network that artifacts are held to; its logits are computed once, when first asked for.

    Args:
        checkpoint: The network's arrays, as they were trained.
        images: What to compare on.
        threshold: The confidence at which to stop; None for never.
        threads: Threads to run both with: one process has one pool of them.

    Raises:
        ValueError: The images do not fit the network.
    """

    def __init__(
        self, checkpoint: Checkpoint, images: NamedImages, threshold: float | None, *, threads: int
    ) -> None:
        images.fits(checkpoint.submodel)
        self.images = images
        self.threshold = threshold
        self._checkpoint = checkpoint
        self._threads = threads

    def rows(self, bundle: Bundle, artifact: Artifact) -> tuple[ParityRow, ...]:
        """Compare an artifact of a bundle with the network, at every batch size it was made for.

        Returns:
            A row per exit: of several batch sizes, the one with the largest error.

        Raises:
            InputError: A file of the artifact is missing or changed.
            MissingToolchainError: Its runtime is not installed.
            ParityError: It cannot be run.
        """
        runtime = _runtime(bundle, artifact, threads=self._threads)
        num_exits = bundle.manifest.submodel.num_exits
        expected = self._logits[:num_exits]
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
        """Put together the report of rows that were compared with this network on its images.

        Args:
            gates: What the rows are held to, by ``FORMAT-PRECISION``.
            rows: One per artifact and exit.
            steps: One per training artifact and array.
        """
        return ParityReport(
            images=self.images.name,
            num_images=len(self.images.pixels),
            threshold=self.threshold,
            gates=dict(gates),
            rows=tuple(rows),
            steps=tuple(steps),
        )

    @cached_property
    def _logits(self) -> list[Logits]:
        network = network_of(self._checkpoint)
        from reefl_edge.runtimes.eager import EagerRuntime

        eager = EagerRuntime(network, threads=self._threads)
        num_exits = self._checkpoint.submodel.num_exits
        return chain_logits(eager, self.images.pixels, num_exits=num_exits)


def network_of(checkpoint: Checkpoint) -> "ReeFL":
    """Return the network of a checkpoint.

    Raises:
        MissingToolchainError: PyTorch is not installed.
    """
    with needs_extra("exporting", "torch", "train"):
        from reefl_edge.models.arrays import network_from
    return network_from(checkpoint.submodel, checkpoint.arrays)


def _runtime(bundle: Bundle, artifact: Artifact, *, threads: int) -> Runtime:
    match artifact.target:
        case "executorch" | "onnx":
            return open_runtime(
                artifact.target, bundle, precision=artifact.precision, threads=threads
            )
        case "coreml":
            from reefl_export.coreml.mil import MilRuntime

            return MilRuntime.open(bundle, artifact, bundle.manifest.submodel.segments())
        case _:
            assert_never(artifact.target)

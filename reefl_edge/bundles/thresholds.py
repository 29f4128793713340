"""How does a bundle say where its artifacts stop, and what that was certified to keep?

Each artifact stops by thresholds of its own: in int8, exits are confident of other examples than in
float32. They stand in the manifest and nowhere else, so that they can change while files do not.
"""

from dataclasses import dataclass
from typing import Literal

from reefl_edge.bundles.artifacts import Artifact, Precision, Target, artifact_name, check_sha256

# How sure an exit is, in [0, 1]: the larger, the surer.
ConfidenceMeasure = Literal["largest-softmax"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """What thresholds were certified to keep, on new images like those they were certified on.

    Reserved: nothing certifies yet.

    Attributes:
        kind: What is bounded, against always running to the deepest exit: the accuracy lost, in
            percentage points; the share of answers that differ; or the mean time, in ms.
        limit: The bound.
        confidence: How sure the certificate is, in (0, 1).
        num_images: On how many images it was made.
        images_sha256: Identity of these images.
    """

    kind: Literal["max-drop", "max-disagreement", "max-mean-ms"]
    limit: float
    confidence: float
    num_images: int
    images_sha256: str

    def __post_init__(self) -> None:
        if not self.limit >= 0:
            raise ValueError(f"a promise is kept within 0 or more, got {self.limit:g}")
        if not 0 < self.confidence < 1:
            raise ValueError(
                f"the confidence of a promise lies between 0 and 1, got {self.confidence:g}"
            )
        if self.num_images < 1:
            raise ValueError(f"a promise is made on at least 1 image, got {self.num_images}")
        check_sha256(self.images_sha256, of="the images of a promise")


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactThresholds:
    """Where an artifact stops when the user says nothing.

    Attributes:
        target: The artifact's format.
        precision: Its precision.
        thresholds: The confidences in force: one in (0, 1] for all exits, or one per exit but the
            last; 1 means never to stop there.
        measure: What is held against them.
        promise: What they keep; None for nothing that was certified.
    """

    target: Target
    precision: Precision
    thresholds: tuple[float, ...]
    measure: ConfidenceMeasure = "largest-softmax"
    promise: Promise | None = None

    def __post_init__(self) -> None:
        if not self.thresholds:
            raise ValueError(f"thresholds of {self.artifact}: there are none")
        for threshold in self.thresholds:
            check_threshold(threshold)

    @property
    def artifact(self) -> str:
        """The artifact's name."""
        return artifact_name(self.target, self.precision)


def same_threshold(
    artifacts: tuple[Artifact, ...], threshold: float | None
) -> tuple[ArtifactThresholds, ...]:
    """Return the entries of artifacts that all stop at one confidence; none if at no one."""
    if threshold is None:
        return ()
    return tuple(
        ArtifactThresholds(
            target=artifact.target, precision=artifact.precision, thresholds=(threshold,)
        )
        for artifact in artifacts
    )


def check_threshold(threshold: float) -> None:
    """Refuse a confidence to stop at that is outside (0, 1].

    Raises:
        ValueError: It is, or is no number.
    """
    if not 0 < threshold <= 1:
        raise ValueError(f"a threshold must be above 0 and at most 1, got {threshold:g}")


def check_thresholds(thresholds: tuple[float, ...], *, num_exits: int) -> None:
    """Hold a number of thresholds to the number of exits.

    Raises:
        ValueError: There is neither one threshold nor one per exit but the last.
    """
    if len(thresholds) not in (1, num_exits - 1):
        raise ValueError(
            f"{len(thresholds)} thresholds for {num_exits} exits: give one, or "
            f"{num_exits - 1}, one per exit but the last"
        )

"""How does a bundle say where its artifacts stop, and what that was certified to keep?

Each artifact stops by thresholds of its own: in int8, exits are confident of other examples than in
float32. They stand in the manifest and nowhere else, so that they can change while files do not.

A *promise* bounds what stopping early costs; a *certificate* says that thresholds keep it, how sure
that is, and of what it was shown: of which images, weights and artifact. The entry that holds one
carries a hash of itself, so that an edit by accident shows; a signature it is not.
"""

import hashlib
import json
from dataclasses import dataclass, replace
from math import inf
from typing import Literal, get_args

from reefl_edge import schema
from reefl_edge.bundles.artifacts import Artifact, Precision, Target, artifact_name, check_sha256
from reefl_edge.confidence import ConfidenceMeasure, check_temperature

PromiseKind = Literal["max-drop", "max-disagreement", "max-mean-ms"]
Bound = Literal["binomial", "betting"]

BOUNDS: tuple[Bound, ...] = get_args(Bound)

# Up to which limit a promise says anything.
_BELOW: dict[PromiseKind, float] = {"max-drop": 100.0, "max-disagreement": 1.0, "max-mean-ms": inf}
_BELOW_WORDS: dict[PromiseKind, str] = {
    "max-drop": "below 100 points of accuracy",
    "max-disagreement": "below 1 of all answers",
    "max-mean-ms": "finite",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """What stopping early may cost at most, on new images.

    Attributes:
        kind: What is bounded: against always running to the deepest exit, the accuracy lost, in
            percentage points, or the share of answers that differ; or the mean time, in ms.
        limit: The bound.
        confidence: How sure it is to be that the promise is kept, in (0, 1).
    """

    kind: PromiseKind
    limit: float
    confidence: float

    def __post_init__(self) -> None:
        if not 0 < self.limit < _BELOW[self.kind]:
            raise ValueError(
                f"{self.kind} is above 0 and {_BELOW_WORDS[self.kind]}, got {self.limit:g}"
            )
        if not 0 < self.confidence < 1:
            raise ValueError(
                f"the confidence of a promise lies between 0 and 1, got {self.confidence:g}"
            )

    def __str__(self) -> str:
        """Say what is promised, in words for whoever runs the bundle."""
        by = ""
        match self.kind:
            case "max-drop":
                what = f"at most {self.limit:g} points less accurate than the deepest exit"
            case "max-disagreement":
                what = f"at most {self.limit:.4g} of the answers differ from the deepest exit's"
            case "max-mean-ms":
                what = f"at most {self.limit:g} ms an image on average"
                by = ", by the exit times it was calibrated with"  # on any machine that runs it
        return f"{what} ({self.confidence:.4g} sure){by}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """That thresholds keep a promise, on new images like those that showed it.

    Attributes:
        promise: The promise.
        bound: By which bound it was shown.
        num_images: On how many images it was shown; those on which candidates were found do not
            count.
        images_sha256: Identity of all the images that were given.
        weights_sha256: Identity of the weights, as in the manifest.
        artifact_sha256: Identity of the artifact that computed (``Artifact.sha256``).
        exit_ms: How long an image takes up to each exit, where a time is promised: the certificate
            is about the shares of exits, the times are taken as they are. Else none.
    """

    promise: Promise
    bound: Bound
    num_images: int
    images_sha256: str
    weights_sha256: str
    artifact_sha256: str
    exit_ms: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.num_images < 1:
            raise ValueError(f"a promise is certified on at least 1 image, got {self.num_images}")
        check_sha256(self.images_sha256, of="the images of a certificate")
        check_sha256(self.weights_sha256, of="the weights of a certificate")
        check_sha256(self.artifact_sha256, of="the artifact of a certificate")
        if any(not 0 < each < inf for each in self.exit_ms):
            raise ValueError(f"an exit takes some time, got {self.exit_ms}")
        if (self.promise.kind == "max-mean-ms") != bool(self.exit_ms):
            raise ValueError("the time of each exit belongs to a promise of time, and to no other")

    def why_not_for(self, artifact: Artifact, weights_sha256: str) -> str | None:
        """Return what else it was made for than an artifact with these weights; None if for it."""
        if self.weights_sha256 != weights_sha256:
            return f"weights {self.weights_sha256[:12]}, not {weights_sha256[:12]}"
        if self.artifact_sha256 != artifact.sha256:
            return f"files of {artifact.name} that have been replaced"
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactThresholds:
    """Where an artifact stops when the user says nothing.

    Attributes:
        target: The artifact's format.
        precision: Its precision.
        thresholds: The confidences in force: one in (0, 1] for all exits, or one per exit but the
            last; 1 means never to stop there.
        measure: What is held against them.
        temperatures: What the logits of each exit are divided by first; none for 1 everywhere.
        certificate: What they keep; None for nothing that was certified.
        sha256: Of all of this, where it is certified (``certified``); else None.
    """

    target: Target
    precision: Precision
    thresholds: tuple[float, ...]
    measure: ConfidenceMeasure = "largest-softmax"
    temperatures: tuple[float, ...] = ()
    certificate: Certificate | None = None
    sha256: str | None = None

    def __post_init__(self) -> None:
        if not self.thresholds:
            raise ValueError(f"thresholds of {self.artifact}: there are none")
        for threshold in self.thresholds:
            check_threshold(threshold)
        for temperature in self.temperatures:
            check_temperature(temperature)
        if self.certificate is not None and self.sha256 != _sha256_of(self):
            raise ValueError(
                f"thresholds of {self.artifact} were edited after they were certified: put back "
                "what stood there, or set their certificate to null and run reefl-edge calibrate"
            )

    @property
    def artifact(self) -> str:
        """The artifact's name."""
        return artifact_name(self.target, self.precision)

    def check(self, num_exits: int) -> None:
        """Hold the number of thresholds, temperatures and times to the number of exits.

        Raises:
            ValueError: They are not as many.
        """
        check_thresholds(self.thresholds, num_exits=num_exits)
        check_temperatures(self.temperatures, num_exits=num_exits)
        times = () if self.certificate is None else self.certificate.exit_ms
        if times and len(times) != num_exits:
            raise ValueError(f"{len(times)} times for {num_exits} exits")

    def certified(self, certificate: Certificate) -> "ArtifactThresholds":
        """Return the entry with what its thresholds keep, and the hash of both."""
        bare = replace(self, certificate=None, sha256=None)
        return replace(bare, certificate=certificate, sha256=_sha256_of(bare, certificate))


def _sha256_of(entry: ArtifactThresholds, certificate: Certificate | None = None) -> str:
    """Hash an entry, with another certificate if one is given, but for the hash in it."""
    fields = schema.to_dict(entry)
    del fields["sha256"]
    if certificate is not None:
        fields["certificate"] = schema.to_dict(certificate)
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()


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


def check_temperatures(temperatures: tuple[float, ...], *, num_exits: int) -> None:
    """Hold a number of temperatures to the number of exits.

    Raises:
        ValueError: There are some, but not one per exit.
    """
    if temperatures and len(temperatures) != num_exits:
        raise ValueError(
            f"{len(temperatures)} temperatures for {num_exits} exits: give one per exit, or none"
        )

"""What does a bundle say of itself?

The *manifest* says everything a runtime must know of the artifacts that lie beside it. Shapes are
written with ``"batch"`` for the batch axis.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Literal

from reefl_edge import schema
from reefl_edge.bundles.artifacts import Artifact, BundleFile, check_sha256, check_unique
from reefl_edge.bundles.thresholds import ArtifactThresholds, same_threshold
from reefl_edge.bundles.training import TrainingSection
from reefl_edge.confidence import MEASURES
from reefl_edge.errors import InputError
from reefl_edge.submodel import Submodel, TensorSpec

MANIFEST_NAME = "manifest.json"
PARITY_NAME = "parity.json"
SCHEMA_VERSION: Literal[3] = 3

_MAX_THREADS = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentSignature:
    """The name, inputs and outputs of one segment, the same in every target."""

    name: str
    exit_index: int
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """What the profile of a device suggests for running a bundle there.

    Attributes:
        device: The profile's name.
        threads: Threads to compute with.
    """

    device: str
    threads: int

    def __post_init__(self) -> None:
        if not 1 <= self.threads <= _MAX_THREADS:
            raise ValueError(f"threads must be from 1 to {_MAX_THREADS}, got {self.threads}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """Everything a bundle says of itself.

    Attributes:
        name: A short name of the model.
        created_at: When it was exported, ISO 8601 in UTC.
        submodel: The sub-model; its architecture holds the preprocessing constants, which are
            applied inside segment 0: ``(pixels / 255 - mean) / std``.
        weights_sha256: Identity of the weights (``models.checkpoint.weights_sha256``).
        has_random_weights: Weights are random, all or those that the exits share: good for
            measuring, not for answers. Which, the checkpoint in the ONNX artifact says.
        class_names: One name per class.
        segments: Names, shapes and dtypes of the chain.
        artifacts: One entry per target and precision, the preferred one of a target first; none
            only while the bundle is made.
        thresholds: Where each artifact stops, one entry per artifact; ask ``entry_for``.
        deployment: What it was exported for; None for no device in particular.
        parity: The parity report; None in bundles of before it was listed.
        training: The compiled training steps; None for none.
        schema_version: Of this document.
    """

    name: str
    created_at: str
    submodel: Submodel
    weights_sha256: str
    has_random_weights: bool
    class_names: tuple[str, ...]
    segments: tuple[SegmentSignature, ...]
    artifacts: tuple[Artifact, ...]
    thresholds: tuple[ArtifactThresholds, ...] = ()
    deployment: Deployment | None = None
    parity: BundleFile | None = None
    training: TrainingSection | None = None
    schema_version: Literal[3] = SCHEMA_VERSION

    def __post_init__(self) -> None:
        check_sha256(self.weights_sha256, of="the weights")
        check_unique(artifact.name for artifact in self.artifacts)
        self._check_thresholds()
        if self.training is not None:
            self.training.check(self.submodel)
        _check_agreeing(self.files())
        if self.parity is not None and self.parity.path != PARITY_NAME:
            raise ValueError(f"the parity report is {PARITY_NAME}, got {self.parity.path!r}")
        num_classes = self.submodel.architecture.num_classes
        if len(self.class_names) != num_classes:
            raise ValueError(f"{len(self.class_names)} class names for {num_classes} classes")
        if self.segments != signatures(self.submodel):
            raise ValueError("the segments are not those of the sub-model")

    def _check_thresholds(self) -> None:
        check_unique(f"thresholds of {each.artifact}" for each in self.thresholds)
        names = {artifact.name for artifact in self.artifacts}
        for each in self.thresholds:
            if each.artifact not in names:
                raise ValueError(f"thresholds of {each.artifact}, which is not among the artifacts")
            each.check(self.submodel.num_exits)

    def entry_for(self, artifact: Artifact) -> ArtifactThresholds | None:
        """Return where an artifact stops, and by what; None for nothing that was said."""
        return next((each for each in self.thresholds if each.artifact == artifact.name), None)

    def thresholds_for(self, artifact: Artifact) -> tuple[float, ...]:
        """Return where an artifact stops: at one confidence, or one per exit but the last.

        Without an entry it never stops early: that is (1.0,).
        """
        entry = self.entry_for(artifact)
        return (1.0,) if entry is None else entry.thresholds

    def with_entry(self, entry: ArtifactThresholds) -> "Manifest":
        """Return the manifest with another entry for an artifact, in the order of artifacts."""
        entries = {each.artifact: each for each in (*self.thresholds, entry)}
        names = (artifact.name for artifact in self.artifacts)
        return replace(self, thresholds=tuple(entries[name] for name in names if name in entries))

    def foreign_certificates(self) -> Iterator[str]:
        """Say of each certificate that was made for other weights or files what it was made for."""
        for artifact in self.artifacts:
            entry = self.entry_for(artifact)
            if entry is not None and entry.certificate is not None:
                made_for = entry.certificate.why_not_for(artifact, self.weights_sha256)
                if made_for is not None:
                    yield f"the thresholds of {artifact.name} were certified for {made_for}"

    @property
    def common_threshold(self) -> float | None:
        """The one number at which every artifact stops; None if none does, or they differ.

        Also None where something else than the largest probability is held against it.
        """
        found = {self.thresholds_for(artifact) for artifact in self.artifacts}
        if not self.thresholds or len(found) > 1 or len(thresholds := found.pop()) > 1:
            return None
        if any(each.temperatures or each.measure != MEASURES[0] for each in self.thresholds):
            return None
        return thresholds[0]

    def files(self) -> Iterator[BundleFile]:
        """Give every file that is listed; one that two read is given twice."""
        for artifact in self.artifacts:
            yield from artifact.files
        if self.training is not None:
            yield from self.training.files()
        if self.parity is not None:
            yield self.parity


def _check_agreeing(files: Iterator[BundleFile]) -> None:
    """Refuse a file that is listed in two places with two contents."""
    listed: dict[str, BundleFile] = {}
    for file in files:
        if listed.setdefault(file.path, file) != file:
            raise ValueError(f"{file.path} is listed with two sizes or hashes")


def signatures(submodel: Submodel) -> tuple[SegmentSignature, ...]:
    """Return the signature of each segment of a sub-model."""
    return tuple(
        SegmentSignature(
            name=segment.name,
            exit_index=segment.exit_index,
            inputs=segment.inputs,
            outputs=segment.outputs,
        )
        for segment in submodel.segments()
    )


def read_manifest(path: Path) -> Manifest:
    """Read a manifest of this version, or of the one before.

    Raises:
        InputError: It is missing, damaged, or of another version.
    """
    version = schema.schema_version_of(path)
    schema.check_not_newer(version, source=str(path), newest=SCHEMA_VERSION)
    match version:
        case 3:
            return schema.read_json(Manifest, path)
        case 2:
            return _of_version_2(schema.read_json(_Version2, path), path)
        case None:
            raise InputError(f"{path} states no schema_version; export the bundle again")
        case _:
            raise InputError(
                f"{path} has schema version {version}, older than 2, the oldest this reefl-edge "
                "reads; export the bundle again"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Version2:
    """A manifest of version 2: all artifacts stop at one threshold, and none trains."""

    name: str
    created_at: str
    submodel: Submodel
    weights_sha256: str
    has_random_weights: bool
    class_names: tuple[str, ...]
    threshold: float | None
    segments: tuple[SegmentSignature, ...]
    artifacts: tuple[Artifact, ...]
    deployment: Deployment | None = None
    parity: BundleFile | None = None
    schema_version: Literal[2]


def _of_version_2(old: _Version2, path: Path) -> Manifest:
    kept = {each.name: getattr(old, each.name) for each in fields(old)}
    del kept["threshold"], kept["schema_version"]
    try:
        return Manifest(**kept, thresholds=same_threshold(old.artifacts, old.threshold))
    except ValueError as error:
        raise InputError(f"{path}: {error}") from error

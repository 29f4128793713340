"""What is in a bundle, and is it what was exported?

A *bundle* is a folder: ``manifest.json`` and the artifacts of one sub-model, one per target and
precision. The manifest says everything a runtime must know; the bare install opens bundles. Shapes
are written with ``"batch"`` for the batch axis.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self, get_args

from reefl_edge import schema
from reefl_edge.errors import InputError
from reefl_edge.files import confined, sha256_of_file
from reefl_edge.names import closest
from reefl_edge.submodel import Submodel, TensorSpec

Target = Literal["executorch", "onnx", "coreml"]
Precision = Literal["fp32", "fp16", "int8-dynamic", "int8-static", "int8-weights", "palette4"]

TARGETS: tuple[Target, ...] = get_args(Target)
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
MANIFEST_NAME = "manifest.json"
PARITY_NAME = "parity.json"
SCHEMA_VERSION = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleFile:
    """One file of a bundle, by its path inside the folder."""

    path: str
    size_bytes: int
    sha256: str

    @classmethod
    def of(cls, root: Path, path: Path) -> Self:
        """Describe a file that lies below ``root``."""
        return cls(
            path=path.relative_to(root).as_posix(),
            size_bytes=path.stat().st_size,
            sha256=sha256_of_file(path),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """The files of one target in one precision, and how they were made.

    Attributes:
        target: The format.
        delegate: The accelerator library inside the target, such as ``xnnpack``; None for none.
        precision: Of weights and activations.
        batch_sizes: The batch sizes it takes; empty for any.
        toolchain: Version of each package that made it.
        files: Every file, with its hash.
    """

    target: Target
    delegate: str | None
    precision: Precision
    batch_sizes: tuple[int, ...]
    toolchain: dict[str, str]
    files: tuple[BundleFile, ...]

    @property
    def name(self) -> str:
        """How reports call it."""
        return artifact_name(self.target, self.precision)

    @property
    def size_bytes(self) -> int:
        """Size of all its files."""
        return sum(file.size_bytes for file in self.files)


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
        if self.threads < 1:
            raise ValueError(f"threads must be at least 1, got {self.threads}")


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
        threshold: Confidence at which to stop when the user gives none; None for never early.
        segments: Names, shapes and dtypes of the chain.
        artifacts: One entry per target and precision, the preferred one of a target first.
        deployment: What it was exported for; None for no device in particular.
        schema_version: Of this document.
    """

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
    schema_version: int = field(default=SCHEMA_VERSION)

    def __post_init__(self) -> None:
        num_classes = self.submodel.architecture.num_classes
        if len(self.class_names) != num_classes:
            raise ValueError(f"{len(self.class_names)} class names for {num_classes} classes")
        if self.segments != signatures(self.submodel):
            raise ValueError("the segments are not those of the sub-model")


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


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle's folder and what its manifest says."""

    directory: Path
    manifest: Manifest

    @classmethod
    def open(cls, directory: Path) -> Self:
        """Open a bundle; its artifacts are verified when they are asked for.

        Raises:
            InputError: The folder is no bundle, or its manifest is damaged or of another version.
        """
        path = directory / MANIFEST_NAME
        if not path.is_file():
            raise InputError(f"{directory} is not a bundle: it has no {MANIFEST_NAME}")
        version = schema.schema_version_of(path)
        if version is not None and version > SCHEMA_VERSION:
            raise InputError(
                f"{path} has schema version {version}, newer than {SCHEMA_VERSION}, the newest "
                "this reefl-edge reads; upgrade reefl-edge"
            )
        if version is not None and version < SCHEMA_VERSION:
            raise InputError(
                f"{path} has schema version {version}, older than {SCHEMA_VERSION}; "
                "export the bundle again"
            )
        return cls(directory, schema.read_json(Manifest, path))

    def artifact(self, target: Target, precision: Precision | None = None) -> Artifact:
        """Return the artifact of ``target``, in a precision or the first there is.

        Raises:
            InputError: The bundle has none.
        """
        for artifact in self.manifest.artifacts:
            if artifact.target == target and precision in (None, artifact.precision):
                return artifact
        wanted = target if precision is None else artifact_name(target, precision)
        have = [each.name for each in self.manifest.artifacts]
        raise InputError(
            f"{self.directory} has no {wanted} artifact, only {', '.join(have)}; "
            f"export it again with --format {target} --precision {precision or 'fp32'} too"
        )

    def verified_paths(self, artifact: Artifact) -> dict[str, Path]:
        """Return the files of an artifact by their path in the bundle, each held to its hash.

        Raises:
            InputError: A file is missing or changed, or its path leads out of the bundle.
        """
        paths = {}
        for file in artifact.files:
            path = confined(self.directory, file.path)
            if not path.is_file():
                raise InputError(f"{self.directory} is incomplete: {file.path} is missing")
            if sha256_of_file(path) != file.sha256:
                raise InputError(
                    f"{path} is not the file that was exported (its hash differs); "
                    "copy or export the bundle again"
                )
            paths[file.path] = path
        return paths


def artifact_name(target: Target, precision: Precision) -> str:
    """Return how recipes and reports call an artifact: ``FORMAT-PRECISION``."""
    return f"{target}-{precision}"


def facts_of(manifest: Manifest) -> dict[str, Any]:
    """Return what a manifest says of the model, for the metadata of each artifact.

    Everything but what only the bundle knows: its name, time, artifacts and device.
    """
    facts = schema.to_dict(manifest)
    for key in ("name", "created_at", "artifacts", "deployment"):
        del facts[key]
    return facts


def parse_target(name: str) -> Target:
    """Return the target called ``name``.

    Raises:
        ValueError: There is none.
    """
    for target in TARGETS:
        if target == name:
            return target
    raise ValueError(f"no format is called {name!r}{closest(name, TARGETS)}")


def parse_precision(name: str) -> Precision:
    """Return the precision called ``name``.

    Raises:
        ValueError: There is none.
    """
    for precision in PRECISIONS:
        if precision == name:
            return precision
    raise ValueError(f"no precision is called {name!r}{closest(name, PRECISIONS)}")

"""What is in a bundle, and is it what was exported?

A *bundle* is a folder: ``manifest.json`` and the artifacts of one sub-model, one per target and
precision. The manifest says everything a runtime must know; the bare install opens bundles. Shapes
are written with ``"batch"`` for the batch axis. What the artifacts say themselves is read in
``facts.py``.
"""

import os
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Literal, Self, get_args

from reefl_edge import schema
from reefl_edge.errors import InputError
from reefl_edge.files import confined, regular_file, sha256_of_file
from reefl_edge.names import closest
from reefl_edge.submodel import Submodel, TensorSpec

Target = Literal["executorch", "onnx", "coreml"]
Precision = Literal["fp32", "fp16", "int8-dynamic", "int8-static", "int8-weights", "palette4"]

TARGETS: tuple[Target, ...] = get_args(Target)
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
MANIFEST_NAME = "manifest.json"
PARITY_NAME = "parity.json"
SCHEMA_VERSION = 2

# In which precisions each format comes.
PRECISIONS_OF: dict[Target, tuple[Precision, ...]] = {
    "executorch": ("fp32", "int8-dynamic", "int8-static"),
    "onnx": ("fp32", "fp16", "int8-dynamic", "int8-static"),
    "coreml": ("fp32", "fp16", "int8-weights", "palette4"),
}

_MAX_THREADS = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleFile:
    """One file of a bundle, by its path inside the folder."""

    path: str
    size_bytes: int
    sha256: str

    def __post_init__(self) -> None:
        _check_path(self.path)
        if self.size_bytes < 0:
            raise ValueError(f"{self.path}: a size is at least 0 bytes, got {self.size_bytes}")
        _check_sha256(self.sha256, of=self.path)

    @classmethod
    def of(cls, root: Path, path: Path) -> Self:
        """Describe a file that lies below ``root``."""
        return cls(
            path=path.relative_to(root).as_posix(),
            size_bytes=path.stat().st_size,
            sha256=sha256_of_file(path),
        )

    def verified(self, root: Path) -> Path:
        """Return where the file lies below ``root``, held to its size and its hash.

        Raises:
            InputError: It is missing or changed, no regular file, or a link leads out of ``root``.
        """
        path = root / self.path
        if not os.path.lexists(path):
            raise InputError(f"{root} is incomplete: {self.path} is missing")
        regular_file(path)
        confined(root, self.path)
        size_bytes = path.stat().st_size
        if size_bytes != self.size_bytes:
            changed = f"it has {size_bytes} bytes, not {self.size_bytes}"
        elif sha256_of_file(path) != self.sha256:
            changed = "its hash differs"
        else:
            return path
        raise InputError(
            f"{path} is not the file that was exported ({changed}); copy or export the bundle again"
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

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS_OF[self.target]:
            raise ValueError(f"{self.target} does not come in {self.precision}")
        check_batch_sizes(self.target, self.batch_sizes)
        if not self.files:
            raise ValueError(f"{self.name} lists no files")
        _check_unique([file.path for file in self.files])

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
        threshold: Confidence at which to stop when the user gives none; None for never early.
        segments: Names, shapes and dtypes of the chain.
        artifacts: One entry per target and precision, the preferred one of a target first; none
            only while the bundle is made.
        deployment: What it was exported for; None for no device in particular.
        parity: The parity report; None in bundles of before it was listed.
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
    parity: BundleFile | None = None
    schema_version: int = field(default=SCHEMA_VERSION)

    def __post_init__(self) -> None:
        _check_sha256(self.weights_sha256, of="the weights")
        if self.threshold is not None:
            check_threshold(self.threshold)
        _check_unique([artifact.name for artifact in self.artifacts])
        if self.parity is not None and self.parity.path != PARITY_NAME:
            raise ValueError(f"the parity report is {PARITY_NAME}, got {self.parity.path!r}")
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
        manifest = schema.read_json(Manifest, path)
        if not manifest.artifacts:
            raise InputError(f"{path} lists no artifacts; export the bundle again")
        return cls(directory, manifest)

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

    def verified_files(self, artifact: Artifact, *names: str) -> tuple[Path, ...]:
        """Return the files of an artifact that bear names, every file of it held to its hash.

        Args:
            artifact: The artifact.
            names: What is going to be read, without folders.

        Raises:
            InputError: The manifest does not list one of them, or a file is missing or changed, or
                leads out of the bundle.
        """
        paths = self.listed_files(artifact, *names)
        for file in artifact.files:
            file.verified(self.directory)
        return paths

    def listed_files(self, artifact: Artifact, *names: str) -> tuple[Path, ...]:
        """Return where the files of an artifact that bear names should lie, unseen.

        Raises:
            InputError: The manifest does not list one of them, or lists several of that name.
        """
        paths = [PurePosixPath(file.path) for file in artifact.files]
        wanted = [[path for path in paths if path.name == name] for name in names]
        for name, found in zip(names, wanted, strict=True):
            if len(found) != 1:
                raise InputError(
                    f"{self.directory / MANIFEST_NAME} lists {len(found) or 'no'} {name} for "
                    f"{artifact.name}, which reads one; export the bundle again"
                )
        return tuple(self.directory / path for (path,) in wanted)

    def foreign_files(self) -> tuple[str, ...]:
        """Return the files in the folder that are not the bundle's own, by their path in it."""
        own = {file.path for artifact in self.manifest.artifacts for file in artifact.files}
        own |= {MANIFEST_NAME, PARITY_NAME}
        found = {
            path.relative_to(self.directory).as_posix()
            for path in self.directory.rglob("*")
            if path.is_symlink() or not path.is_dir()
        }
        return tuple(sorted(found - own))


def artifact_name(target: Target, precision: Precision) -> str:
    """Return how recipes and reports call an artifact: ``FORMAT-PRECISION``."""
    return f"{target}-{precision}"


def check_batch_sizes(target: Target, sizes: tuple[int, ...]) -> None:
    """Hold the batch sizes of a recipe or an artifact to what its format can do.

    Raises:
        ValueError: ONNX names any, which takes all; Core ML another than 1; ExecuTorch none, one
            below 1, the same twice, or all but 1.
    """
    if any(size < 1 for size in sizes):
        raise ValueError(f"batch sizes must be at least 1, got {sizes}")
    if sizes and 1 not in sizes:
        raise ValueError(f"batch_sizes must hold 1, got {sizes}")
    if len(set(sizes)) < len(sizes):
        raise ValueError(f"batch_sizes must hold each size once, got {sizes}")
    if target == "executorch" and not sizes:
        raise ValueError("executorch takes fixed batch_sizes, such as [1]; none are given")
    if target == "coreml" and sizes != (1,):
        raise ValueError("coreml takes one image: batch_sizes must be [1]")
    if target == "onnx" and sizes:
        raise ValueError("onnx takes any batch: leave batch_sizes out")


def check_threshold(threshold: float) -> None:
    """Refuse a confidence to stop at that is outside (0, 1].

    Raises:
        ValueError: It is, or is no number.
    """
    if not 0 < threshold <= 1:
        raise ValueError(f"a threshold must be above 0 and at most 1, got {threshold:g}")


def _check_path(path: str) -> None:
    """Refuse what is no path of a file below a folder, whatever the system."""
    windows = PureWindowsPath(path)
    if "\0" in path or not windows.parts:
        raise ValueError(f"{path!r} is no path of a file")
    if windows.drive or windows.root or ".." in windows.parts:
        raise ValueError(f"{path!r} leads out of the bundle")


def _check_sha256(text: str, *, of: str) -> None:
    if not re.fullmatch("[0-9a-f]{64}", text):
        raise ValueError(f"{of}: {text[:80]!r} is no SHA-256 in hexadecimal")


def _check_unique(names: list[str]) -> None:
    for name, count in Counter(names).items():
        if count > 1:
            raise ValueError(f"{name} is listed more than once")


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

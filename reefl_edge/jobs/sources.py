"""Where does the model of a job come from, and how is it named?

By the SHA-256 of its content, never by a path: whoever does the job may lie elsewhere. Beside a job
travels a table of where everything lies for whoever does it (``Files``).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from reefl_edge import schema
from reefl_edge.bundles.bundle import Bundle
from reefl_edge.bundles.manifest import MANIFEST_NAME
from reefl_edge.errors import InputError
from reefl_edge.files import regular_file, sha256_of_file
from reefl_edge.schema import Sha256

# Where a file or a folder lies, by its name in a job.
Files = Mapping[Sha256, Path]
# In the same table: where what a training leaves is to go.
UPDATE = "update"


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleFolder:
    """The model is in a bundle; its runtimes load what was exported.

    Attributes:
        sha256: Of the manifest, which holds the hash of every other file.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    sha256: Sha256
    kind: Literal["bundle"] = "bundle"

    @classmethod
    def of(cls, folder: Path) -> Self:
        """Name a bundle.

        Raises:
            InputError: The folder is no bundle.
        """
        Bundle.open(folder)
        return cls(sha256=sha256_of_file(folder / MANIFEST_NAME))

    def open(self, files: Files) -> Bundle:
        """Open the bundle where it lies.

        Raises:
            InputError: It is not there, no bundle, or another one.
        """
        folder = located(files, self.sha256)
        bundle = Bundle.open(folder)
        _check_content(folder / MANIFEST_NAME, self.sha256)
        return bundle

    def check(self, files: Files) -> None:
        """Hold every file of the bundle to its hash, before it is known elsewhere by this name.

        Raises:
            InputError: As for ``open``, or a file of it is missing or changed.
        """
        bundle = self.open(files)
        for file in dict.fromkeys(bundle.manifest.files()):
            file.verified(bundle.directory)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointFile:
    """The model is in a checkpoint, whose arrays go at least to the depth that the job asks for.

    Attributes:
        sha256: Of the file.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    sha256: Sha256
    kind: Literal["checkpoint"] = "checkpoint"

    @classmethod
    def of(cls, path: Path) -> Self:
        """Name a checkpoint.

        Raises:
            InputError: There is no such file.
        """
        return cls(sha256=sha256_of_file(regular_file(path)))

    def path(self, files: Files) -> Path:
        """Return where the file lies, held to its hash.

        Raises:
            InputError: It is not there, or another one.
        """
        return checked_file(files, self.sha256)

    def check(self, files: Files) -> None:
        """Hold the file to its hash; see ``path``."""
        self.path(files)


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomWeights:
    """The model has random weights: it computes nothing of use, at the true cost."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    seed: int = 0
    kind: Literal["random"] = "random"


ModelSource = Annotated[
    Annotated[BundleFolder, schema.variant("bundle")]
    | Annotated[CheckpointFile, schema.variant("checkpoint")]
    | Annotated[RandomWeights, schema.variant("random")],
    schema.tagged_union("the kind of a source is bundle, checkpoint or random"),
]


# What answers, and what a client trains, has learnt something.
StoredModel = Annotated[
    Annotated[BundleFolder, schema.variant("bundle")]
    | Annotated[CheckpointFile, schema.variant("checkpoint")],
    schema.tagged_union("the kind of a source of answers or training is bundle or checkpoint"),
]


def located(files: Files, sha256: str) -> Path:
    """Return where something lies.

    Raises:
        InputError: Nobody has said.
    """
    if sha256 not in files:
        raise InputError(f"the job needs {sha256}, which did not come with it")
    return files[sha256]


def checked_file(files: Files, sha256: str) -> Path:
    """Return where a file lies, held to its hash.

    Raises:
        InputError: It is not there, or another one.
    """
    path = regular_file(located(files, sha256))
    _check_content(path, sha256)
    return path


def _check_content(path: Path, sha256: str) -> None:
    if (found := sha256_of_file(path)) != sha256:
        raise InputError(f"{path} is not what the job needs: its hash is {found}, not {sha256}")

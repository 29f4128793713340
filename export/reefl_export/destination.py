"""May what stands where a bundle is to go be replaced?

Only nothing, an empty folder, or a bundle of ours in which nothing else lies: a ``manifest.json``
alone proves nothing (browser extensions and web apps have one), and a user's own files beside a
bundle would go with it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reefl_edge import schema
from reefl_edge.bundles.manifest import MANIFEST_NAME, PARITY_NAME
from reefl_edge.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Artifact:
    target: str
    files: tuple[_File, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    start: _File | None = None
    artifacts: tuple[_Artifact, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Training:
    steps: tuple[_Step, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Listing:
    """What every version of our manifest has, and hardly another's."""

    schema_version: int
    submodel: dict[str, Any]
    weights_sha256: str
    artifacts: tuple[_Artifact, ...]
    training: _Training | None = None

    def files(self) -> Iterator[_File]:
        artifacts = list(self.artifacts)
        for step in () if self.training is None else self.training.steps:
            artifacts += step.artifacts
            if step.start is not None:
                yield step.start
        for artifact in artifacts:
            yield from artifact.files


def check_replaceable(directory: Path) -> None:
    """Refuse to replace anything but a bundle of ours, alone in its folder.

    Raises:
        InputError: There is something else; the first foreign file is named.
    """
    if not directory.exists():
        return
    if not directory.is_dir():
        raise InputError(f"{directory} is a file, not a bundle; choose another output folder")
    listed = set(_listed(directory))
    for path in _files_in(directory):
        name = path.relative_to(directory).as_posix()
        if name not in listed:
            raise InputError(
                f"{directory} holds {name}, which is no file of a bundle of ours and would be "
                "lost; choose another output folder"
            )


def _listed(directory: Path) -> Iterator[str]:
    """Yield the files of the bundle in a folder; none if there is no bundle of ours."""
    try:
        manifest = schema.read_json(_Listing, directory / MANIFEST_NAME)
    except (InputError, OSError):
        return
    yield from (MANIFEST_NAME, PARITY_NAME)
    yield from (file.path for file in manifest.files())


def _files_in(directory: Path) -> Iterator[Path]:
    """Yield all that is no folder; a link to a folder is a file here, too."""
    for path in sorted(directory.rglob("*")):
        if path.is_symlink() or not path.is_dir():
            yield path

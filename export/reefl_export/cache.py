"""Has this artifact been made before, and compared with its network on these images?

Artifacts are kept under a key that hashes everything they depend on: the facts of the model, its
weights, recipe, calibration images, toolchain versions and this package's own. Comparisons are
kept beside them. A hit imports no torch.

The cache only ever saves time: what is damaged in it, or goes while it is read, is not there; where
it cannot be written, the work goes on without it. One process writes at a time.
"""

import hashlib
import json
import logging
import re
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

from reefl_edge import schema
from reefl_edge.bundles.artifacts import Artifact, Target
from reefl_edge.bundles.training import StepArtifact
from reefl_edge.errors import InputError
from reefl_edge.files import confined, replacing_folder, write_text
from reefl_edge.kept import kept_folder
from reefl_edge.partials import locked
from reefl_edge.regimes import Regime
from reefl_export.images import NamedImages
from reefl_export.parity.comparison import ParityRow
from reefl_export.parity.step import StepRow
from reefl_export.recipe import ExportRecipe, recipe_for
from reefl_export.training import TrainingPlan

_log = logging.getLogger(__name__)

_ARTIFACT_NAME = "artifact.json"
_LOCK_NAME = ".lock"
# Ours, and nothing else: entries, and what a killed process left of one.
_ENTRY = re.compile(r"[0-9a-f]{64}|\.[0-9a-f]{64}\.[0-9a-f]+\.(partial|old)")
# Raise when the exporters change what they write for the same key.
_FORMAT_VERSION = 21


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rows:
    """The comparison of one artifact.

    Attributes:
        rows: One per exit.
        sha256: Of the rows as compact JSON: what was edited or damaged counts for nothing.
    """

    rows: tuple[ParityRow, ...]
    sha256: str

    def __post_init__(self) -> None:
        _check_rows(self.rows, self.sha256)


@dataclass(frozen=True, slots=True, kw_only=True)
class _StepRows:
    """The comparison of one training step; as of an artifact, with a row for each array."""

    rows: tuple[StepRow, ...]
    sha256: str

    def __post_init__(self) -> None:
        _check_rows(self.rows, self.sha256)


def _check_rows(rows: tuple[ParityRow, ...] | tuple[StepRow, ...], sha256: str) -> None:
    if sha256 != _sha256_of_rows(rows):
        raise ValueError("the rows are not those that were stored")


# What entries keep.
Kept = TypeVar("Kept", Artifact, StepArtifact)
Stored = TypeVar("Stored", _Rows, _StepRows)


def cache_home() -> Path:
    """Return where artifacts are kept: ``REEFL_EDGE_HOME``, or the user's cache folder."""
    return kept_folder("artifacts")


def artifact_key(
    recipe: ExportRecipe, facts: str, weights: str, calibration: NamedImages | None
) -> str:
    """Return the key of an artifact.

    Args:
        recipe: How it is made; what its gate says changes nothing in it.
        facts: What the artifact will say of its model, as JSON.
        weights: Identity of the weights that become its constants.
        calibration: The images its ranges come from, if any.
    """
    made_how = {key: value for key, value in asdict(recipe).items() if key != "gate"}
    return _hash(
        {
            "format": _FORMAT_VERSION,
            "reefl_edge": version("reefl-edge"),
            "facts": facts,
            "weights": weights,
            "recipe": made_how,
            "calibration": None if calibration is None else calibration.sha256(),
            "toolchain": recipe.toolchain(),
        }
    )


def step_key(
    plan: TrainingPlan,
    regime: Regime,
    target: Target,
    *,
    facts: str,
    weights: str,
    beside: str | None,
) -> str:
    """Return the key of a training step.

    Args:
        plan: How it is compiled, and the others that are.
        regime: Which one it is.
        target: The format.
        facts: What the artifact will say of its model, as JSON.
        weights: Identity of the weights of the model, adapters unfolded.
        beside: Hash of the file of inference's weights that it reads; None for none.
    """
    return _hash(
        {
            "format": _FORMAT_VERSION,
            "reefl_edge": version("reefl-edge"),
            "step": [regime, target, plan.batch_size, plan.recompute, plan.seed],
            "facts": facts,
            "weights": weights,
            "beside": beside,
            "toolchain": recipe_for(target).toolchain(),
        }
    )


def rows_key(trained_sha256: str, images: NamedImages, threshold: float | None) -> str:
    """Return the key of a comparison, beside its artifact.

    Args:
        trained_sha256: Hash of the weights that the artifact was compared with.
        images: The images.
        threshold: The confidence at which to stop.
    """
    return _hash({"trained": trained_sha256, "images": images.sha256(), "threshold": threshold})


def fetch_artifact(key: str, folder: Path) -> Artifact | None:
    """Copy a cached artifact's files into ``folder``; None if there is none, or it is damaged."""
    return _fetch(Artifact, key, folder)


def fetch_step(key: str, folder: Path) -> StepArtifact | None:
    """Copy the files of a cached training step into ``folder``; None as for an artifact."""
    return _fetch(StepArtifact, key, folder)


def _fetch(kind: type[Kept], key: str, folder: Path) -> Kept | None:
    home = cache_home() / key
    copies: list[Path] = []
    try:
        artifact = schema.read_json(kind, home / _ARTIFACT_NAME)
        for file in artifact.files:
            copies.append(confined(folder, file.path))
            copies[-1].parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(confined(home, file.path), copies[-1])
            file.verified(folder)
    except (InputError, OSError) as problem:
        _log.debug("not in the cache: %s", problem)
        for copy in copies:
            copy.unlink(missing_ok=True)
        return None
    return artifact


def store_artifact(key: str, folder: Path, artifact: Artifact | StepArtifact) -> None:
    """Keep a copy of an artifact whose files lie in ``folder``."""

    def write(home: Path) -> None:
        with replacing_folder(home / key, check=lambda _: None) as entry:
            for file in artifact.files:
                destination = entry / file.path
                destination.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(folder / file.path, destination)
            write_text(entry / _ARTIFACT_NAME, schema.to_json(artifact, indent=2))

    _write(write)


def fetch_rows(artifact: str, comparison: str) -> tuple[ParityRow, ...] | None:
    """Return the rows of a comparison by its artifact's key and its own; None if there are none.

    Rows that are not what was stored are none.
    """
    stored = _stored(_Rows, artifact, comparison)
    return None if stored is None else stored.rows


def fetch_step_rows(artifact: str, comparison: str) -> tuple[StepRow, ...] | None:
    """Return the rows of a training step's comparison; None as for those of an artifact."""
    stored = _stored(_StepRows, artifact, comparison)
    return None if stored is None else stored.rows


def _stored(kind: type[Stored], artifact: str, comparison: str) -> Stored | None:
    path = _rows_path(artifact, comparison)
    try:
        return schema.read_json(kind, path) if path.is_file() else None
    except (InputError, OSError):  # another process may have put a new entry in its place
        return None


def store_rows(artifact: str, comparison: str, rows: tuple[ParityRow, ...]) -> None:
    """Keep the rows of a comparison, if its artifact is kept."""
    _store(artifact, comparison, _Rows(rows=rows, sha256=_sha256_of_rows(rows)))


def store_step_rows(artifact: str, comparison: str, rows: tuple[StepRow, ...]) -> None:
    """Keep the rows of a training step's comparison, if the step is kept."""
    _store(artifact, comparison, _StepRows(rows=rows, sha256=_sha256_of_rows(rows)))


def _store(artifact: str, comparison: str, stored: _Rows | _StepRows) -> None:
    path = _rows_path(artifact, comparison)
    text = schema.to_json(stored, indent=2)
    _write(lambda _: write_text(path, text) if path.parent.is_dir() else None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One artifact in the cache.

    Attributes:
        key: What it is kept under.
        artifact: What it is; None if that cannot be read any more.
        size_bytes: Size of all that is kept of it.
        stored_at_s: When, in seconds since 1970.
    """

    key: str
    artifact: Artifact | StepArtifact | None
    size_bytes: int
    stored_at_s: float


def entries() -> tuple[Entry, ...]:
    """List what is in the cache, newest first."""
    found = []
    for path in _own_folders():
        with suppress(FileNotFoundError):  # another process has removed it in the meantime
            found.append(_entry(path))
    return tuple(sorted(found, key=lambda entry: entry.stored_at_s, reverse=True))


def clear() -> int:
    """Remove everything that we keep in the cache's folder, and nothing else.

    Returns:
        How many bytes that frees.

    Raises:
        OSError: The system does not let us.
    """
    home = cache_home()
    if not home.is_dir():
        return 0
    with locked(home / _LOCK_NAME):
        freed = sum(entry.size_bytes for entry in entries())
        for path in _own_folders():
            shutil.rmtree(path)
    return freed


def _own_folders() -> list[Path]:
    home = cache_home()
    if not home.is_dir():
        return []
    return [path for path in home.iterdir() if _is_own(path)]


def _is_own(path: Path) -> bool:
    return bool(_ENTRY.fullmatch(path.name)) and path.is_dir() and not path.is_symlink()


def _entry(path: Path) -> Entry:
    files = [each for each in path.rglob("*") if each.is_file()]
    return Entry(
        key=path.name,
        artifact=_kept(Artifact, path) or _kept(StepArtifact, path),
        size_bytes=sum(each.stat().st_size for each in files),
        stored_at_s=path.stat().st_mtime,
    )


def _kept(kind: type[Kept], path: Path) -> Kept | None:
    """Read what an entry is; None if it is of another kind, or cannot be read any more."""
    try:
        return schema.read_json(kind, path / _ARTIFACT_NAME)
    except (InputError, OSError):
        return None


def _write(write: Callable[[Path], None]) -> None:
    """Let one process write to the cache; where it cannot be written, say so and go on."""
    home = cache_home()
    try:
        home.mkdir(parents=True, exist_ok=True)
        with locked(home / _LOCK_NAME):
            write(home)
    except OSError as error:
        _say_once(f"nothing is kept in the cache: {error.filename or home}: {error.strerror}")


@cache
def _say_once(message: str) -> None:
    _log.warning(message)


def _sha256_of_rows(rows: tuple[ParityRow, ...] | tuple[StepRow, ...]) -> str:
    text = "".join(schema.to_json(row) for row in rows)
    return hashlib.sha256(text.encode()).hexdigest()


def _rows_path(artifact: str, comparison: str) -> Path:
    return cache_home() / artifact / f"parity-{comparison}.json"


def _hash(identity: object) -> str:
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()

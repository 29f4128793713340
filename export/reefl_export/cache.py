"""Has this artifact been made before, and compared with its network on these images?

Artifacts are kept under a key that hashes everything they depend on: what the manifest says of the
model (the hash of its weights among it), recipe, calibration images, toolchain versions and this
package's own. Comparisons are kept beside them. A hit imports no torch.
"""

import hashlib
import json
import os
import shutil
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from platformdirs import user_cache_path

from reefl_edge import schema
from reefl_edge.errors import InputError
from reefl_edge.files import replacing_folder, write_text
from reefl_edge.manifest import Artifact
from reefl_export.parity import ParityRow
from reefl_export.recipe import ExportRecipe
from reefl_export.sample import Sample

_ARTIFACT_NAME = "artifact.json"
# Raise when the exporters change what they write for the same key.
_FORMAT_VERSION = 3


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
        if self.sha256 != _sha256_of_rows(self.rows):
            raise ValueError("the rows are not those that were stored")


def cache_home() -> Path:
    """Return where artifacts are kept: ``REEFL_EDGE_HOME``, or the user's cache folder."""
    home = os.environ.get("REEFL_EDGE_HOME")
    return (Path(home) if home else user_cache_path("reefl-edge")) / "artifacts"


def artifact_key(recipe: ExportRecipe, facts: str, calibration: Sample | None) -> str:
    """Return the key of an artifact.

    Args:
        recipe: How it is made; what its gate says changes nothing in it.
        facts: What the manifest says of the model, as JSON.
        calibration: The images its ranges come from, if any.
    """
    made_how = {key: value for key, value in asdict(recipe).items() if key != "gate"}
    return _hash(
        {
            "format": _FORMAT_VERSION,
            "reefl_edge": version("reefl-edge"),
            "facts": facts,
            "recipe": made_how,
            "calibration": None if calibration is None else calibration.sha256(),
            "toolchain": recipe.toolchain(),
        }
    )


def rows_key(trained_sha256: str, sample: Sample, threshold: float | None) -> str:
    """Return the key of a comparison, beside its artifact.

    Args:
        trained_sha256: Hash of the weights that the artifact was compared with.
        sample: The images.
        threshold: The confidence at which to stop.
    """
    return _hash({"trained": trained_sha256, "images": sample.sha256(), "threshold": threshold})


def fetch_artifact(key: str, folder: Path) -> Artifact | None:
    """Copy a cached artifact's files into ``folder``; None if there is none, or it is damaged."""
    home = cache_home() / key
    path = home / _ARTIFACT_NAME
    if not path.is_file():
        return None
    try:
        artifact = schema.read_json(Artifact, path)
        for file in artifact.files:
            file.verified(home)
    except InputError:
        return None
    for file in artifact.files:
        destination = folder / file.path
        destination.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(home / file.path, destination)
    return artifact


def store_artifact(key: str, folder: Path, artifact: Artifact) -> None:
    """Keep a copy of an artifact whose files lie in ``folder``.

    Two processes may store the same artifact at once: what the later one wrote stays.
    """
    with replacing_folder(cache_home() / key, marker=_ARTIFACT_NAME) as home:
        for file in artifact.files:
            destination = home / file.path
            destination.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / file.path, destination)
        write_text(home / _ARTIFACT_NAME, schema.to_json(artifact, indent=2))


def fetch_rows(artifact: str, comparison: str) -> tuple[ParityRow, ...] | None:
    """Return the rows of a comparison by its artifact's key and its own; None if there are none.

    Rows that are not what was stored are none.
    """
    path = _rows_path(artifact, comparison)
    try:
        return schema.read_json(_Rows, path).rows if path.is_file() else None
    except InputError:
        return None


def store_rows(artifact: str, comparison: str, rows: tuple[ParityRow, ...]) -> None:
    """Keep the rows of a comparison."""
    stored = _Rows(rows=rows, sha256=_sha256_of_rows(rows))
    write_text(_rows_path(artifact, comparison), schema.to_json(stored, indent=2))


def _sha256_of_rows(rows: tuple[ParityRow, ...]) -> str:
    text = "".join(schema.to_json(row) for row in rows)
    return hashlib.sha256(text.encode()).hexdigest()


def _rows_path(artifact: str, comparison: str) -> Path:
    return cache_home() / artifact / f"parity-{comparison}.json"


def _hash(identity: object) -> str:
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()

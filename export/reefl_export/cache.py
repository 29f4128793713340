"""Has this artifact been made before?

Artifacts are kept under a key that hashes everything they depend on: weights, sub-model, recipe,
toolchain versions and this package's own. What is in the cache passed its parity check. A hit
imports no torch.
"""

import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from platformdirs import user_cache_path

from reefl_edge import schema
from reefl_edge.errors import InputError
from reefl_edge.files import confined, replacing_folder, sha256_of_file, write_text
from reefl_edge.manifest import Artifact
from reefl_edge.submodel import Submodel
from reefl_export.parity import ParityRow
from reefl_export.recipe import ExportRecipe

_ENTRY_NAME = "entry.json"
# Raise when the exporters change what they write for the same key.
_FORMAT_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheEntry:
    """An artifact and its parity rows; its files lie beside this description."""

    artifact: Artifact
    parity: tuple[ParityRow, ...]


def cache_home() -> Path:
    """Return where artifacts are kept: ``REEFL_EDGE_HOME``, or the user's cache folder."""
    home = os.environ.get("REEFL_EDGE_HOME")
    return (Path(home) if home else user_cache_path("reefl-edge")) / "artifacts"


def cache_key(weights_sha256: str, submodel: Submodel, recipe: ExportRecipe) -> str:
    """Return the key of an artifact: a hash of everything that determines it."""
    identity = {
        "format": _FORMAT_VERSION,
        "reefl_edge": version("reefl-edge"),
        "weights": weights_sha256,
        "submodel": schema.to_dict(submodel),
        "recipe": schema.to_dict(recipe),
        "toolchain": recipe.toolchain(),
    }
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def fetch(key: str, folder: Path) -> CacheEntry | None:
    """Copy a cached artifact's files into ``folder``; None if there is none, or it is damaged."""
    home = cache_home() / key
    path = home / _ENTRY_NAME
    if not path.is_file():
        return None
    try:
        entry = schema.read_json(CacheEntry, path)
        for file in entry.artifact.files:
            source = confined(home, file.path)
            if not source.is_file() or sha256_of_file(source) != file.sha256:
                return None
    except InputError:
        return None
    for file in entry.artifact.files:
        destination = confined(folder, file.path)
        destination.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(home / file.path, destination)
    return entry


def store(key: str, folder: Path, entry: CacheEntry) -> None:
    """Keep a copy of an artifact whose files lie in ``folder``.

    Two processes may store the same artifact at once: what the later one wrote stays.
    """
    with replacing_folder(cache_home() / key, marker=_ENTRY_NAME) as home:
        for file in entry.artifact.files:
            destination = home / file.path
            destination.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / file.path, destination)
        write_text(home / _ENTRY_NAME, schema.to_json(entry, indent=2))

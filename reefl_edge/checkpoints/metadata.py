"""What do our files of weights say of their arrays, and when is one not to be trusted?

The sub-model in a file's metadata says which arrays there must be, and of what shape; a hash, that
they are those that were written. Read and written with numpy, so that an export served from the
cache needs no torch.
"""

import hashlib
import json
import logging
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol

from reefl_edge import schema
from reefl_edge.array_files.safetensors import (
    Arrays,
    Header,
    not_finite,
    read_safetensors,
    write_safetensors,
)
from reefl_edge.checkpoints.hashes import weights_sha256
from reefl_edge.errors import DivergenceError, InputError
from reefl_edge.submodel import ArraySpec, Shape, Submodel

RandomPart = Literal["nothing", "shared", "everything"]


_log = logging.getLogger(__name__)


# The one key of the safetensors metadata: with several, the library writes them in random order,
# and equal files would have different hashes.
METADATA_KEY = "reefl_edge"


class HasShape(Protocol):
    """An array, or what a file says of one."""

    @property
    def dtype(self) -> object:
        """Its type, which as a text is numpy's name for it."""

    @property
    def shape(self) -> Shape:
        """Its shape."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """What an update was trained from, and on how much.

    Attributes:
        base_sha256: ``base_sha256`` of the sub-model before training.
        server_round: The federated round, 1-based.
        num_examples: Examples of the client's training set.
    """

    base_sha256: str
    server_round: int
    num_examples: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """What a file says of its arrays.

    Attributes:
        submodel: What they are the arrays of.
        weights_sha256: Their identity; None in files of earlier versions.
        class_names: One name per class, if known.
        random: What of them is random; None in files of earlier versions.
        is_untrained: Something is: all that earlier versions wrote, and read, of it.
        update: What an update was trained from; None for a checkpoint.
        metadata_sha256: Of everything else that stands here, so that damage to a name or to a
            pixel's mean is seen as well; None in files of earlier versions.
    """

    submodel: Submodel
    weights_sha256: str | None = None
    class_names: tuple[str, ...] | None = None
    random: RandomPart | None = None
    is_untrained: bool = False
    update: Provenance | None = None
    metadata_sha256: str | None = None

    def __post_init__(self) -> None:
        num_classes = self.submodel.architecture.num_classes
        if self.class_names is not None and len(self.class_names) != num_classes:
            raise ValueError(f"{len(self.class_names)} class names for {num_classes} classes")

    @property
    def random_part(self) -> RandomPart:
        """What is random of the arrays, as a file of whatever version says it."""
        return self.random or ("shared" if self.is_untrained else "nothing")


def write_arrays(arrays: Arrays, metadata: Metadata, path: Path, *, room: int = 1) -> None:
    """Write arrays with what is said of them, whole or not at all.

    Args:
        arrays: Array by name.
        metadata: What is said of them; their hash and its own are added.
        path: The file.
        room: The metadata's text is padded to a multiple of so many bytes.

    Raises:
        DivergenceError: An array holds NaN or an infinity.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="hashing") as pool:
        hashing = pool.submit(weights_sha256, arrays)
        if (name := not_finite(arrays)) is not None:
            raise DivergenceError(f"{name} holds NaN or infinity; {path} was not written")
    metadata = replace(metadata, weights_sha256=hashing.result())
    text = schema.to_json(replace(metadata, metadata_sha256=_sha256_of(schema.to_dict(metadata))))
    write_safetensors(arrays, path, {METADATA_KEY: text}, room=room)


def metadata_in(header: Header, path: Path) -> Metadata:
    """Return what a file of ours says of its arrays.

    Raises:
        InputError: It is somebody else's, or damaged.
    """
    if METADATA_KEY not in header.metadata:
        raise InputError(f"{path} was not written by reefl-edge: its metadata has no sub-model")
    text = header.metadata[METADATA_KEY]
    metadata = schema.from_json(Metadata, text, source=str(path))
    said = metadata.metadata_sha256
    if said is not None and said != _sha256_of(schema.parse_json(text, source=str(path))):
        raise InputError(
            f"{path} is damaged: what it says of its arrays is not what was written (the hash "
            "differs); copy it again, or make it again"
        )
    return metadata


def _sha256_of(document: dict[str, Any]) -> str:
    """Return the hash of metadata as a JSON document, but for the hash in it."""
    others = {key: value for key, value in document.items() if key != "metadata_sha256"}
    return hashlib.sha256(json.dumps(others, sort_keys=True).encode()).hexdigest()


def read_arrays(
    path: Path, header: Header, metadata: Metadata, specs: tuple[ArraySpec, ...]
) -> Arrays:
    """Read the arrays of a file of ours, held to what there must be before they are read."""
    check_entries(path, header, specs)
    arrays = read_safetensors(path)
    said = metadata.weights_sha256
    if said is not None and said != weights_sha256(arrays):
        raise InputError(
            f"{path} is damaged: its arrays are not those it was written with (their hash "
            "differs); copy it again, or make it again"
        )
    check_finite(arrays, str(path))
    return arrays


def check_entries(path: Path, header: Header, specs: tuple[ArraySpec, ...]) -> None:
    """Hold what a file says of its arrays to what there must be.

    Raises:
        InputError: It says otherwise; everything is listed.
    """
    problems = differences(header.entries, {spec.name: spec.shape for spec in specs})
    if problems:
        raise InputError(f"{path} does not fit its sub-model: {'; '.join(problems)}")


def warn_of_no_hash(path: Path, way_out: str) -> None:
    """Log that nothing tells whether a file's arrays are those that were written."""
    _log.warning(
        "%s is of an earlier version and carries no hash of its arrays: damage to it would go "
        "unnoticed; %s",
        path,
        way_out,
    )


def check_finite(arrays: Arrays, source: str) -> None:
    """Refuse arrays that would poison whatever they are used in.

    Raises:
        InputError: One holds NaN or an infinity.
    """
    if (name := not_finite(arrays)) is not None:
        raise InputError(f"{source}: {name} holds NaN or infinity")


def differences(found: Mapping[str, HasShape], expected: Mapping[str, Shape]) -> list[str]:
    """List everything in which arrays differ from the names and shapes that are expected."""
    problems = [f"{name} is missing" for name in expected if name not in found]
    problems += [f"{name} is left over" for name in found if name not in expected]
    problems += [
        f"{name} is {array.dtype} {array.shape}, not float32 {expected[name]}"
        for name, array in found.items()
        if name in expected and (array.shape != expected[name] or str(array.dtype) != "float32")
    ]
    return problems

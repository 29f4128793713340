"""How is a training that can go on kept in a file?

A *training checkpoint*: safetensors, whose metadata, a JSON document, says of which training it is
and where that stands. It has a hash of the whole content, and is written whole or not at all.
"""

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reefl_edge import schema
from reefl_edge.array_files.safetensors import read_header, read_safetensors, write_safetensors
from reefl_edge.errors import InputError
from reefl_edge.finetune.state import LoopPosition, LoopState
from reefl_edge.finetune.training import LocalTraining
from reefl_edge.schema import Sha256
from reefl_edge.submodel import Submodel

SCHEMA_VERSION = 1

_METADATA_KEY = "reefl_edge_training"
# What is no array of the network: no name of one begins so.
_RUNNING_LOSSES, _LOSSES, _TEACHERS = "loop.running_losses", "loop.losses", "loop.teachers"

_Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingIdentity:
    """Which training it is: where one of these differs, every step does.

    Attributes:
        stepper: What computes the steps.
        submodel: What is trained.
        weights_sha256: Hash of all arrays that it starts from, adapters and frozen ones, too.
        data_sha256: Hash of the examples.
        training: The settings.
    """

    stepper: str
    submodel: Submodel
    weights_sha256: Sha256
    data_sha256: Sha256
    training: LocalTraining


@dataclass(frozen=True, slots=True, kw_only=True)
class _Document:
    """What a training checkpoint says of its arrays; ``sha256`` is of the rest, and of them."""

    identity: TrainingIdentity
    position: LoopPosition
    num_steps: int
    sha256: Sha256 | None = None
    schema_version: int = SCHEMA_VERSION


def write_state(state: LoopState, identity: TrainingIdentity, path: Path) -> None:
    """Write where a training stands, whole or not at all.

    Raises:
        OSError: The folder cannot be written to, or the disk is full; it names ``path``.
    """
    arrays: _Arrays = {
        **state.arrays,
        _RUNNING_LOSSES: state.running_losses,
        _LOSSES: state.losses,
        _TEACHERS: state.teachers,
    }
    document = _Document(identity=identity, position=state.position, num_steps=state.num_steps)
    hashed = replace(document, sha256=_sha256_of(schema.to_dict(document), arrays))
    write_safetensors(arrays, path, {_METADATA_KEY: schema.to_json(hashed)})


def read_state(path: Path) -> tuple[TrainingIdentity, LoopState]:
    """Read which training it is, and where it stands.

    Raises:
        InputError: The file is missing, damaged, or no training checkpoint.
    """
    text, document = _document_in(path)
    arrays: _Arrays = dict(read_safetensors(path))
    if document.sha256 != _sha256_of(schema.parse_json(text, source=str(path)), arrays):
        raise InputError(f"{path} is damaged: it is not what was written (the hash differs)")
    _check_arrays(arrays, document, path)
    state = LoopState(
        running_losses=arrays.pop(_RUNNING_LOSSES),
        losses=arrays.pop(_LOSSES),
        teachers=arrays.pop(_TEACHERS),
        arrays=arrays,
        position=document.position,
    )
    return document.identity, state


def num_steps_in(path: Path) -> int:
    """Return how many steps a training checkpoint says it has behind it, which is not checked.

    Raises:
        InputError: The file is missing, damaged, or no training checkpoint.
    """
    _, document = _document_in(path)
    return document.num_steps


def _document_in(path: Path) -> tuple[str, _Document]:
    """Return what a file says of its arrays, as it is written and as what it means."""
    header = read_header(path)
    if _METADATA_KEY not in header.metadata:
        raise InputError(f"{path} is no training checkpoint of reefl-edge")
    text = header.metadata[_METADATA_KEY]
    document: _Document = schema.from_versioned_json(
        _Document, text, source=str(path), newest=SCHEMA_VERSION
    )
    return text, document


def _check_arrays(arrays: _Arrays, document: _Document, path: Path) -> None:
    """Hold arrays to those of the training, by name, shape and type."""
    submodel, num_steps = document.identity.submodel, document.num_steps
    expected = {spec.name: (spec.shape, "float32") for spec in submodel.trained_arrays()} | {
        _RUNNING_LOSSES: ((submodel.num_exits,), "float32"),
        _LOSSES: ((num_steps,), "float64"),
        _TEACHERS: ((num_steps,), "int64"),
    }
    if {name: (array.shape, str(array.dtype)) for name, array in arrays.items()} != expected:
        raise InputError(f"{path} does not hold the arrays of the training that it says it is of")


def _sha256_of(document: dict[str, Any], arrays: _Arrays) -> str:
    said = {key: value for key, value in document.items() if key != "sha256"}
    digest = hashlib.sha256(json.dumps(said, sort_keys=True).encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype} {array.shape}\n".encode())
        digest.update(array.data)
    return digest.hexdigest()

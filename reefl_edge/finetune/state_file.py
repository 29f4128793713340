"""How is a training that can go on kept in a file?

A *training checkpoint*: safetensors, whose metadata, a JSON document, says of which training it is
and where that stands. It has a hash of the whole content, and is written whole or not at all.
"""

from dataclasses import dataclass
from pathlib import Path

from reefl_edge.array_files.hashed import AnyArrays, FileKind, HashedDocument
from reefl_edge.errors import InputError
from reefl_edge.finetune.state import LoopPosition, LoopState
from reefl_edge.finetune.training import LocalTraining
from reefl_edge.schema import Sha256
from reefl_edge.submodel import Submodel

_FILE = FileKind(key="reefl_edge_training", name="a training checkpoint of reefl-edge", newest=1)
# What is no array of the network: no name of one begins so.
_RUNNING_LOSSES, _LOSSES, _TEACHERS = "loop.running_losses", "loop.losses", "loop.teachers"


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
class _Document(HashedDocument):
    """What a training checkpoint says of its arrays."""

    identity: TrainingIdentity
    position: LoopPosition
    num_steps: int


def write_state(state: LoopState, identity: TrainingIdentity, path: Path) -> None:
    """Write where a training stands, whole or not at all.

    Raises:
        OSError: The folder cannot be written to, or the disk is full; it names ``path``.
    """
    arrays: AnyArrays = {
        **state.arrays,
        _RUNNING_LOSSES: state.running_losses,
        _LOSSES: state.losses,
        _TEACHERS: state.teachers,
    }
    document = _Document(identity=identity, position=state.position, num_steps=state.num_steps)
    _FILE.write(document, arrays, path)


def read_state(path: Path) -> tuple[TrainingIdentity, LoopState]:
    """Read which training it is, and where it stands.

    Raises:
        InputError: The file is missing, damaged, or no training checkpoint.
    """
    document, arrays = _FILE.read(_Document, path)
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
    return _FILE.document_in(_Document, path).num_steps


def _check_arrays(arrays: AnyArrays, document: _Document, path: Path) -> None:
    """Hold arrays to those of the training, by name, shape and type."""
    submodel, num_steps = document.identity.submodel, document.num_steps
    expected = {spec.name: (spec.shape, "float32") for spec in submodel.trained_arrays()} | {
        _RUNNING_LOSSES: ((submodel.num_exits,), "float32"),
        _LOSSES: ((num_steps,), "float64"),
        _TEACHERS: ((num_steps,), "int64"),
    }
    if {name: (array.shape, str(array.dtype)) for name, array in arrays.items()} != expected:
        raise InputError(f"{path} does not hold the arrays of the training that it says it is of")

"""What do the files that hold weights look like, and when is one not to be trusted?

A *checkpoint* holds all arrays of a sub-model, an *update* the trained ones only. Both are
safetensors files; the sub-model in their metadata says which arrays there must be, and of what
shape. Read and written with numpy, so that an export served from the cache needs no torch.
"""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from reefl_edge import schema
from reefl_edge.errors import InputError
from reefl_edge.files import write_bytes
from reefl_edge.fold import fold_arrays, neutral_adapters
from reefl_edge.regimes import has_adapters, is_adapter
from reefl_edge.submodel import ArraySpec, Regime, Shape, Submodel

Arrays = dict[str, NDArray[np.float32]]

# The checkpoint inside a bundle's ONNX artifact, whose graphs read their weights from it.
WEIGHTS_NAME = "weights.safetensors"

# The one key of the safetensors metadata: with several, the library writes them in random order,
# and equal files would have different hashes.
_METADATA_KEY = "reefl_edge"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """All arrays of a sub-model.

    Attributes:
        submodel: What they are the arrays of.
        arrays: Array by name, float32.
        class_names: One name per class, if known.
        is_untrained: Its accumulator and classifier are random: it was made from a backbone.
    """

    submodel: Submodel
    arrays: Arrays
    class_names: tuple[str, ...] | None = None
    is_untrained: bool = False

    def names(self) -> tuple[str, ...]:
        """Return one name per class: the known ones, or their numbers."""
        return self.class_names or _numbers(self.submodel)

    def cut(self, max_exit: int) -> "Checkpoint":
        """Return the checkpoint of the sub-model cut at a shallower exit."""
        submodel = self.submodel.cut(max_exit)
        arrays = {spec.name: self.arrays[spec.name] for spec in submodel.arrays()}
        return replace(self, submodel=submodel, arrays=arrays)

    def folded(self) -> "Checkpoint":
        """Return the checkpoint of what is deployed: LoRA and SSF folded into the plain arrays.

        One of another regime is returned as it is.
        """
        submodel = self.submodel.folded()
        if submodel == self.submodel:
            return self
        return replace(self, submodel=submodel, arrays=fold_arrays(self.arrays, self.submodel))


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
class Update:
    """The trained arrays of a sub-model after local training."""

    submodel: Submodel
    arrays: Arrays
    provenance: Provenance


def weights_sha256(arrays: Arrays) -> str:
    """Return the identity of a set of arrays: the hash of their names, shapes and content."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name], dtype="<f4")
        digest.update(f"{name} {array.shape}\n".encode())
        digest.update(array.data)
    return digest.hexdigest()


def base_sha256(arrays: Arrays) -> str:
    """Return the identity of what an update is trained from: the hash of the plain arrays alone.

    Adapters do not count, because whoever applies the update may have none: a client draws its own
    on a plain checkpoint. Nothing is lost: every adapter travels, so what the update gives does not
    depend on what they were.
    """
    return weights_sha256({name: array for name, array in arrays.items() if not is_adapter(name)})


def write_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    """Write a checkpoint, whole or not at all; equal ones become equal files."""
    metadata = _Metadata(
        submodel=checkpoint.submodel,
        class_names=checkpoint.class_names,
        is_untrained=checkpoint.is_untrained,
    )
    _write(checkpoint.arrays, metadata, path)


def write_update(update: Update, path: Path) -> None:
    """Write an update, whole or not at all."""
    metadata = _Metadata(submodel=update.submodel, update=update.provenance)
    _write(update.arrays, metadata, path)


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint.

    Raises:
        InputError: The file is missing, damaged, or not a checkpoint of ours.
    """
    arrays, metadata = _read(path)
    if metadata.update is not None:
        raise InputError(
            f"{path} is an update (trained arrays only), not a checkpoint; "
            "give it with --update, beside the model it was trained from"
        )
    _check_arrays(arrays, metadata.submodel.arrays(), path)
    return Checkpoint(
        submodel=metadata.submodel,
        arrays=arrays,
        class_names=metadata.class_names,
        is_untrained=metadata.is_untrained,
    )


def read_update(path: Path) -> Update:
    """Read an update.

    Raises:
        InputError: The file is missing, damaged, or not an update of ours.
    """
    arrays, metadata = _read(path)
    if metadata.update is None:
        raise InputError(f"{path} is not an update; make one with 'reefl-edge finetune'")
    trained = tuple(spec for spec in metadata.submodel.arrays() if spec.is_trained)
    _check_arrays(arrays, trained, path)
    return Update(submodel=metadata.submodel, arrays=arrays, provenance=metadata.update)


def apply_update(checkpoint: Checkpoint, update: Update) -> Checkpoint:
    """Return the checkpoint with an update's arrays in the place of its own.

    An update with adapters goes onto a plain checkpoint, too. Where the checkpoint is deeper than
    the update, its blocks stay as they are: those beyond the update get adapters that change
    nothing. A checkpoint with other adapters is folded first, as it was before training.

    Raises:
        InputError: The update was trained from other weights, or deeper, or is of a regime that
            the checkpoint's adapters have no place in.
    """
    trained_from = update.provenance.base_sha256
    if update.submodel.max_exit > checkpoint.submodel.max_exit:
        raise InputError(
            f"the update goes to exit {update.submodel.max_exit}, "
            f"the model only to exit {checkpoint.submodel.max_exit}"
        )
    checkpoint = _under(checkpoint, update.submodel.regime)
    base = base_sha256(checkpoint.cut(update.submodel.max_exit).arrays)
    if base != trained_from:
        raise InputError(
            f"the update was trained from weights {trained_from[:12]}, "
            f"but this model's are {base[:12]}; give the model it was trained from"
        )
    # Whatever the regime, accumulator and classifier are trained.
    return replace(checkpoint, arrays={**checkpoint.arrays, **update.arrays}, is_untrained=False)


def _under(checkpoint: Checkpoint, regime: Regime) -> Checkpoint:
    """Return the checkpoint under an update's regime, with adapters that change nothing."""
    if regime == checkpoint.submodel.regime:
        return checkpoint
    try:
        submodel = checkpoint.submodel.with_regime(regime)
    except ValueError as error:
        raise InputError(f"the update does not fit: {error}") from error
    folded = checkpoint.folded()
    if not has_adapters(regime):
        return folded
    arrays = neutral_adapters(submodel) | folded.arrays
    return replace(checkpoint, submodel=submodel, arrays=arrays)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Metadata:
    """What a file says of its arrays."""

    submodel: Submodel
    class_names: tuple[str, ...] | None = None
    is_untrained: bool = False
    update: Provenance | None = None


def _write(arrays: Arrays, metadata: _Metadata, path: Path) -> None:
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    write_bytes(path, save(contiguous, metadata={_METADATA_KEY: schema.to_json(metadata)}))


def _read(path: Path) -> tuple[Arrays, _Metadata]:
    arrays, metadata = read_safetensors(path)
    return arrays, _parse(metadata, path)


def stated_model(path: Path) -> tuple[Submodel, tuple[str, ...]]:
    """Return the sub-model and the class names of a checkpoint, without reading its arrays.

    Raises:
        InputError: The file is missing, damaged, or not a checkpoint of ours.
    """
    with _opened(path) as file:
        metadata = _parse(file.metadata() or {}, path)
    return metadata.submodel, metadata.class_names or _numbers(metadata.submodel)


def _numbers(submodel: Submodel) -> tuple[str, ...]:
    return tuple(str(index) for index in range(submodel.architecture.num_classes))


def is_ours(path: Path) -> bool:
    """Tell whether a safetensors file was written by reefl-edge.

    Raises:
        InputError: The file is missing or damaged.
    """
    with _opened(path) as file:
        return _METADATA_KEY in (file.metadata() or {})


def read_safetensors(path: Path) -> tuple[Arrays, dict[str, str]]:
    """Read the arrays and the metadata of any safetensors file.

    Raises:
        InputError: The file is missing or damaged, or holds a type that numpy lacks.
    """
    with _opened(path) as file:
        names = file.keys()
        return {name: file.get_tensor(name) for name in names}, file.metadata() or {}


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    if path.is_dir():
        raise InputError(f"{path} is a folder, not a .safetensors file")
    try:
        with safe_open(path, framework="numpy") as file:
            yield file
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file") from error
    except SafetensorError as error:
        raise InputError(f"{path} is not a readable safetensors file: {error}") from error
    except TypeError as error:  # a type that numpy lacks, such as bfloat16
        raise InputError(f"{path} holds arrays that are not float32: {error}") from error


def _parse(metadata: dict[str, str], path: Path) -> _Metadata:
    if _METADATA_KEY not in metadata:
        raise InputError(f"{path} was not written by reefl-edge: its metadata has no sub-model")
    return schema.from_json(_Metadata, metadata[_METADATA_KEY], source=str(path))


def _check_arrays(arrays: Arrays, specs: tuple[ArraySpec, ...], path: Path) -> None:
    problems = differences(arrays, {spec.name: spec.shape for spec in specs})
    if problems:
        raise InputError(f"{path} does not fit its sub-model: {'; '.join(problems)}")


def differences(arrays: Arrays, expected: dict[str, Shape]) -> list[str]:
    """List everything in which arrays differ from the names and shapes that are expected."""
    problems = [f"{name} is missing" for name in expected if name not in arrays]
    problems += [f"{name} is left over" for name in arrays if name not in expected]
    problems += [
        f"{name} is {array.dtype} {array.shape}, not float32 {expected[name]}"
        for name, array in arrays.items()
        if name in expected and (array.shape != expected[name] or array.dtype != np.float32)
    ]
    return problems


def data_ranges(path: Path) -> dict[str, tuple[int, int]]:
    """Return where each array's bytes lie in a safetensors file: offset and length, in bytes.

    The file begins with the length of its header, 8 bytes little-endian, then the header in JSON;
    offsets in the header count from its end. Source: the safetensors format description.
    """
    with path.open("rb") as file:
        header_length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(header_length))
    start = 8 + header_length
    ranges = {
        name: entry["data_offsets"] for name, entry in header.items() if name != "__metadata__"
    }
    return {name: (start + first, last - first) for name, (first, last) in ranges.items()}

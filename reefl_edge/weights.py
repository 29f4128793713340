"""What do the files that hold weights look like, and when is one not to be trusted?

A *checkpoint* holds all arrays of a sub-model, an *update* the trained ones only. Both are
safetensors files; the sub-model in their metadata says which arrays there must be, and of what
shape. Read and written with numpy, so that an export served from the cache needs no torch.
"""

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from reefl_edge import schema
from reefl_edge.array_files import Arrays as Arrays
from reefl_edge.array_files import (
    Header,
    not_finite,
    read_header,
    read_safetensors,
    write_safetensors,
)
from reefl_edge.errors import DivergenceError, InputError
from reefl_edge.fold import fold_arrays, neutral_adapters
from reefl_edge.names import numbered_names
from reefl_edge.regimes import has_adapters, is_adapter
from reefl_edge.submodel import ArraySpec, Regime, Shape, Submodel

RandomPart = Literal["nothing", "shared", "everything"]

_log = logging.getLogger(__name__)

# The checkpoint inside a bundle's ONNX artifact, whose graphs read their weights from it.
WEIGHTS_NAME = "weights.safetensors"

# The one key of the safetensors metadata: with several, the library writes them in random order,
# and equal files would have different hashes.
_METADATA_KEY = "reefl_edge"
# What a checkpoint's metadata takes of the header, or a multiple of it: ImageNet's thousand class
# names fit, at up to 50 letters each.
_METADATA_ROOM = 64 * 2**10


class HasShape(Protocol):
    """An array, or what a file says of one."""

    @property
    def dtype(self) -> object:
        """Its type, which as a text is numpy's name for it."""

    @property
    def shape(self) -> Shape:
        """Its shape."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """All arrays of a sub-model.

    Attributes:
        submodel: What they are the arrays of.
        arrays: Array by name, float32.
        class_names: One name per class, if known.
        random: What of them is random: nothing; what all exits share, the accumulator and the
            classifier, as where it was made from a backbone; or everything.
    """

    submodel: Submodel
    arrays: Arrays
    class_names: tuple[str, ...] | None = None
    random: RandomPart = "nothing"

    @property
    def is_untrained(self) -> bool:
        """It is good for measuring, not for answers."""
        return self.random != "nothing"

    def names(self) -> tuple[str, ...]:
        """Return one name per class: the known ones, or their numbers."""
        return self.class_names or numbered_names(self.submodel.architecture.num_classes)

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
    """Write a checkpoint, whole or not at all; equal ones become equal files.

    Where each array lies in the file depends on their names and shapes alone, unless class names
    take more than 64 KiB: the graphs of a bundle point there.

    Raises:
        DivergenceError: An array holds NaN or an infinity.
    """
    metadata = _Metadata(
        submodel=checkpoint.submodel,
        class_names=checkpoint.class_names,
        random=checkpoint.random,
        is_untrained=checkpoint.is_untrained,
    )
    _write(checkpoint.arrays, metadata, path, room=_METADATA_ROOM)


def write_update(update: Update, path: Path) -> None:
    """Write an update, whole or not at all.

    Raises:
        DivergenceError: An array holds NaN or an infinity.
    """
    _write(update.arrays, _Metadata(submodel=update.submodel, update=update.provenance), path)


def read_checkpoint(path: Path, *, is_verified: bool = False) -> Checkpoint:
    """Read a checkpoint.

    Args:
        path: The file.
        is_verified: It was held to its hash already; else one that carries none is warned of.

    Raises:
        InputError: The file is missing, damaged, or not a checkpoint of ours.
    """
    header = read_header(path)
    metadata = _metadata(header, path)
    if metadata.update is not None:
        raise InputError(
            f"{path} is an update (trained arrays only), not a checkpoint; "
            "give it with --update, beside the model it was trained from"
        )
    arrays = _read_arrays(path, header, metadata, metadata.submodel.arrays())
    if metadata.weights_sha256 is None and not is_verified:
        _warn_of_no_hash(path, "'reefl-edge convert' writes it anew")
    return Checkpoint(
        submodel=metadata.submodel,
        arrays=arrays,
        class_names=metadata.class_names,
        random=metadata.random_part,
    )


def read_update(path: Path) -> Update:
    """Read an update.

    Raises:
        InputError: The file is missing, damaged, or not an update of ours.
    """
    header = read_header(path)
    metadata = _metadata(header, path)
    if metadata.update is None:
        raise InputError(f"{path} is not an update; make one with 'reefl-edge finetune'")
    arrays = _read_arrays(path, header, metadata, metadata.submodel.trained_arrays())
    if metadata.weights_sha256 is None:
        _warn_of_no_hash(path, "'reefl-edge finetune' makes it anew")
    return Update(submodel=metadata.submodel, arrays=arrays, provenance=metadata.update)


def _warn_of_no_hash(path: Path, way_out: str) -> None:
    _log.warning(
        "%s is of an earlier version and carries no hash of its arrays: damage to it would go "
        "unnoticed; %s",
        path,
        way_out,
    )


def apply_update(checkpoint: Checkpoint, update: Update) -> Checkpoint:
    """Return the checkpoint with an update's arrays in the place of its own.

    An update with adapters goes onto a plain checkpoint, too. Where the checkpoint is deeper than
    the update, its blocks stay as they are: those beyond the update get adapters that change
    nothing. A checkpoint with other adapters is folded first, as it was before training.

    Raises:
        InputError: The update was trained from other weights, or deeper, or is of a regime that
            the checkpoint's adapters have no place in, or holds NaN or an infinity.
    """
    check_finite(update.arrays, "the update")
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
    return replace(
        checkpoint,
        arrays={**checkpoint.arrays, **update.arrays},
        random=_still_random(checkpoint, update),
    )


def _still_random(checkpoint: Checkpoint, update: Update) -> RandomPart:
    """Return what is random once an update was applied: every regime trains what is shared."""
    whole = update.submodel.regime == "full" and update.submodel.depth == checkpoint.submodel.depth
    return "everything" if checkpoint.random == "everything" and not whole else "nothing"


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
    """What a file says of its arrays.

    Attributes:
        submodel: What they are the arrays of.
        weights_sha256: Their identity; None in files of earlier versions.
        class_names: One name per class, if known.
        random: What of them is random; None in files of earlier versions.
        is_untrained: Something is: all that earlier versions wrote, and read, of it.
        update: What an update was trained from; None for a checkpoint.
    """

    submodel: Submodel
    weights_sha256: str | None = None
    class_names: tuple[str, ...] | None = None
    random: RandomPart | None = None
    is_untrained: bool = False
    update: Provenance | None = None

    def __post_init__(self) -> None:
        num_classes = self.submodel.architecture.num_classes
        if self.class_names is not None and len(self.class_names) != num_classes:
            raise ValueError(f"{len(self.class_names)} class names for {num_classes} classes")

    @property
    def random_part(self) -> RandomPart:
        """What is random of the arrays, as a file of whatever version says it."""
        return self.random or ("shared" if self.is_untrained else "nothing")


def _write(arrays: Arrays, metadata: _Metadata, path: Path, *, room: int = 1) -> None:
    if (name := not_finite(arrays)) is not None:
        raise DivergenceError(f"{name} holds NaN or infinity; {path} was not written")
    text = schema.to_json(replace(metadata, weights_sha256=weights_sha256(arrays)))
    write_safetensors(arrays, path, {_METADATA_KEY: text}, room=room)


def _metadata(header: Header, path: Path) -> _Metadata:
    if _METADATA_KEY not in header.metadata:
        raise InputError(f"{path} was not written by reefl-edge: its metadata has no sub-model")
    return schema.from_json(_Metadata, header.metadata[_METADATA_KEY], source=str(path))


def stated_model(path: Path) -> tuple[Submodel, tuple[str, ...]]:
    """Return the sub-model and the class names of a checkpoint, without reading its arrays.

    Raises:
        InputError: The file is missing, damaged, or not a checkpoint of ours.
    """
    metadata = _metadata(read_header(path), path)
    num_classes = metadata.submodel.architecture.num_classes
    return metadata.submodel, metadata.class_names or numbered_names(num_classes)


def is_ours(path: Path) -> bool:
    """Tell whether a safetensors file was written by reefl-edge.

    Raises:
        InputError: The file is missing or damaged.
    """
    return _METADATA_KEY in read_header(path).metadata


def _read_arrays(
    path: Path, header: Header, metadata: _Metadata, specs: tuple[ArraySpec, ...]
) -> Arrays:
    """Read the arrays of a file of ours, held to what there must be before they are read."""
    problems = differences(header.entries, {spec.name: spec.shape for spec in specs})
    if problems:
        raise InputError(f"{path} does not fit its sub-model: {'; '.join(problems)}")
    arrays = read_safetensors(path)
    said = metadata.weights_sha256
    if said is not None and said != weights_sha256(arrays):
        raise InputError(
            f"{path} is damaged: its arrays are not those it was written with (their hash "
            "differs); copy it again, or make it again"
        )
    check_finite(arrays, str(path))
    return arrays


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

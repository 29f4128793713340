"""How is a whole model kept in a file of ours?

A *checkpoint* holds all arrays of a sub-model, in a safetensors file whose metadata says what they
are.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from reefl_edge.array_files.safetensors import Arrays, Header, map_safetensors, read_header
from reefl_edge.checkpoints.metadata import (
    METADATA_KEY,
    Metadata,
    RandomPart,
    check_entries,
    metadata_in,
    read_arrays,
    warn_of_no_hash,
    write_arrays,
)
from reefl_edge.errors import InputError
from reefl_edge.fold import fold_arrays
from reefl_edge.names import numbered_names
from reefl_edge.submodel import Submodel

# The checkpoint inside a bundle's ONNX artifact, whose graphs read their weights from it.
WEIGHTS_NAME = "weights.safetensors"

# What a checkpoint's metadata takes of the header, or a multiple of it: ImageNet's thousand class
# names fit, at up to 50 letters each.
_METADATA_ROOM = 64 * 2**10


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


def write_checkpoint(checkpoint: Checkpoint, path: str | Path) -> None:
    """Write a checkpoint, whole or not at all; equal ones become equal files.

    Where each array lies in the file depends on their names and shapes alone, unless class names
    take more than 64 KiB: the graphs of a bundle point there.

    Raises:
        DivergenceError: An array holds NaN or an infinity.
    """
    metadata = Metadata(
        submodel=checkpoint.submodel,
        class_names=checkpoint.class_names,
        random=checkpoint.random,
        is_untrained=checkpoint.is_untrained,
    )
    write_arrays(checkpoint.arrays, metadata, Path(path), room=_METADATA_ROOM)


def read_checkpoint(path: Path, *, is_verified: bool = False) -> Checkpoint:
    """Read a checkpoint.

    Args:
        path: The file.
        is_verified: It was held to its hash already; else one that carries none is warned of.

    Raises:
        InputError: The file is missing, damaged, or not a checkpoint of ours.
    """
    header = read_header(path)
    metadata = _metadata_in(header, path)
    arrays = read_arrays(path, header, metadata, metadata.submodel.arrays())
    if metadata.weights_sha256 is None and not is_verified:
        warn_of_no_hash(path, "'reefl-edge convert' writes it anew")
    return _checkpoint(metadata, arrays)


def map_checkpoint(path: Path) -> Checkpoint:
    """Return a checkpoint whose arrays are views of its file, which is held to its hash elsewhere.

    Raises:
        InputError: The file is missing, damaged, or not a checkpoint of ours.
    """
    header = read_header(path)
    metadata = _metadata_in(header, path)
    check_entries(path, header, metadata.submodel.arrays())
    return _checkpoint(metadata, map_safetensors(path))


def stated_weights_sha256(path: Path) -> str | None:
    """Return the identity that a checkpoint states of its arrays; None in earlier versions.

    Raises:
        InputError: The file is missing, damaged, or not a checkpoint of ours.
    """
    return _metadata_in(read_header(path), path).weights_sha256


def _metadata_in(header: Header, path: Path) -> Metadata:
    metadata = metadata_in(header, path)
    if metadata.update is not None:
        raise InputError(
            f"{path} is an update (trained arrays only), not a checkpoint; "
            "give it with --update, beside the model it was trained from"
        )
    return metadata


def _checkpoint(metadata: Metadata, arrays: Arrays) -> Checkpoint:
    return Checkpoint(
        submodel=metadata.submodel,
        arrays=arrays,
        class_names=metadata.class_names,
        random=metadata.random_part,
    )


def stated_model(path: Path) -> tuple[Submodel, tuple[str, ...]]:
    """Return the sub-model and the class names of a checkpoint, without reading its arrays.

    Raises:
        InputError: The file is missing, damaged, or not a checkpoint of ours.
    """
    metadata = metadata_in(read_header(path), path)
    num_classes = metadata.submodel.architecture.num_classes
    return metadata.submodel, metadata.class_names or numbered_names(num_classes)


def is_ours(path: Path) -> bool:
    """Tell whether a safetensors file was written by reefl-edge.

    Raises:
        InputError: The file is missing or damaged.
    """
    return METADATA_KEY in read_header(path).metadata

"""What does a client send back, and how does it go into the model it was trained from?

An *update* holds the trained arrays of a sub-model, and what they were trained from.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from reefl_edge.array_files.safetensors import Arrays, read_header
from reefl_edge.checkpoints.checkpoint import Checkpoint
from reefl_edge.checkpoints.hashes import base_sha256
from reefl_edge.checkpoints.metadata import (
    Metadata,
    Provenance,
    RandomPart,
    check_finite,
    metadata_in,
    read_arrays,
    warn_of_no_hash,
    write_arrays,
)
from reefl_edge.errors import InputError
from reefl_edge.fold import neutral_adapters
from reefl_edge.regimes import has_adapters
from reefl_edge.submodel import Regime, Submodel


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """The trained arrays of a sub-model after local training."""

    submodel: Submodel
    arrays: Arrays
    provenance: Provenance


def write_update(update: Update, path: str | Path) -> None:
    """Write an update, whole or not at all.

    Raises:
        DivergenceError: An array holds NaN or an infinity.
    """
    metadata = Metadata(submodel=update.submodel, update=update.provenance)
    write_arrays(update.arrays, metadata, Path(path))


def read_update(path: str | Path) -> Update:
    """Read an update.

    Raises:
        InputError: The file is missing, damaged, or not an update of ours.
    """
    path = Path(path)
    header = read_header(path)
    metadata = metadata_in(header, path)
    if metadata.update is None:
        raise InputError(f"{path} is not an update; make one with 'reefl-edge finetune'")
    arrays = read_arrays(path, header, metadata, metadata.submodel.trained_arrays())
    if metadata.weights_sha256 is None:
        warn_of_no_hash(path, "'reefl-edge finetune' makes it anew")
    return Update(submodel=metadata.submodel, arrays=arrays, provenance=metadata.update)


def apply_update(
    checkpoint: Checkpoint, update: Update, *, known_base: str | None = None
) -> Checkpoint:
    """Return the checkpoint with an update's arrays in the place of its own.

    An update with adapters goes onto a plain checkpoint, too. Where the checkpoint is deeper than
    the update, its blocks stay as they are: those beyond the update get adapters that change
    nothing. A checkpoint with other adapters is folded first, as it was before training.

    Args:
        checkpoint: What the update was trained from, or something deeper.
        update: The update.
        known_base: The ``base_sha256`` of the whole checkpoint, where somebody has computed it.

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
    base = known_base
    if base is None or update.submodel.max_exit < checkpoint.submodel.max_exit:
        base = base_sha256(checkpoint.cut(update.submodel.max_exit).arrays)
    if base != trained_from:
        raise InputError(
            f"the update was trained from weights {trained_from[:12]}, "
            f"but this model's are {base[:12]}; give the model it was trained from"
        )
    return replace(
        checkpoint,
        arrays={**checkpoint.arrays, **update.arrays},
        random=still_random(checkpoint, update.submodel),
    )


def still_random(checkpoint: Checkpoint, trained: Submodel) -> RandomPart:
    """Return what is random once a sub-model was trained: every regime trains what is shared."""
    whole = trained.regime == "full" and trained.depth == checkpoint.submodel.depth
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

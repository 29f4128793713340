"""How does one of our models get back into the layout of the released ReeFL code?"""

from pathlib import Path

from reefl_edge.array_files.safetensors import Arrays, write_safetensors
from reefl_edge.checkpoints.checkpoint import Checkpoint
from reefl_edge.checkpoints.foreign.files import PICKLE_SUFFIXES
from reefl_edge.checkpoints.foreign.layout import split
from reefl_edge.checkpoints.foreign.released import RELEASED
from reefl_edge.extras import needs_extra


def to_released(checkpoint: Checkpoint) -> Arrays:
    """Return a checkpoint's arrays as the released code's state dict has them."""
    return split(checkpoint.arrays, checkpoint.submodel.arrays(), RELEASED)


def write_released(checkpoint: Checkpoint, path: Path) -> None:
    """Write a state dict of the released code, whole or not at all.

    Args:
        checkpoint: What to write.
        path: A .safetensors file, or a pickle of tensors (.pth, .pt, .bin).

    Raises:
        ValueError: The file is of another kind.
        MissingToolchainError: A pickle, without torch.
    """
    arrays = to_released(checkpoint)
    if path.suffix == ".safetensors":
        write_safetensors(arrays, path)
    elif path.suffix in PICKLE_SUFFIXES:
        with needs_extra(f"writing {path}", "torch", "train"):
            from reefl_edge.checkpoints.foreign.pickles import write_state_dict
        write_state_dict(arrays, path)
    else:
        raise ValueError(f"{path} is no .safetensors, .pth, .pt or .bin file")

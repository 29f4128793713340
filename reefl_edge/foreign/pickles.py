"""How is a .pth file read, which is a pickle and could run anything?

By torch's own restricted unpickler (``weights_only=True``): it knows tensors and plain containers,
and raises on every other name in the pickle instead of importing it.
"""

import pickle
import struct
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch

from reefl_edge.errors import InputError
from reefl_edge.files import replacing_file
from reefl_edge.weights import Arrays

# Under these the DeiT release and timm's training keep the state dict.
_WRAPPERS = ("model", "state_dict")
# What torch lets through when bytes of a file are missing or wrong.
_DAMAGED = (
    AttributeError, EOFError, IndexError, KeyError, OverflowError, RuntimeError, TypeError,
    ValueError, struct.error,
)  # fmt: skip


def read_state_dict(path: Path) -> Arrays:
    """Read the tensors of a .pth file; floats narrower than numpy knows are widened.

    Raises:
        InputError: The file is damaged, or holds more than tensors.
    """
    state = _unwrapped(_load(path))
    if not isinstance(state, dict):
        raise InputError(f"{path} holds a {type(state).__name__}, not a state dict")
    others = [str(name) for name, value in state.items() if not isinstance(value, torch.Tensor)]
    if others:
        raise InputError(f"{path} is not a state dict: {', '.join(others)} are no tensors")
    return {str(name): _array(tensor) for name, tensor in state.items()}


def write_state_dict(arrays: Arrays, path: Path) -> None:
    """Write arrays as a .pth file, whole or not at all."""
    state = {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
    with replacing_file(path) as partial:
        torch.save(state, partial)


def _array(tensor: torch.Tensor) -> Any:
    tensor = tensor.detach()
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()


def _load(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            # Of a pickle that torch did not write; it is refused or damaged anyway.
            warnings.filterwarnings("ignore", message="Detected pickle protocol")
            # Files older than torch 1.6 are no zip files, and cannot be mapped into memory.
            is_zip = zipfile.is_zipfile(path)
            return torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip)
    except pickle.UnpicklingError as error:
        found = _foreign_names(path)
        what = f" ({', '.join(found)})" if found else ""
        raise InputError(
            f"{path} is a pickle that holds more than tensors{what}; refused"
        ) from error
    except _DAMAGED as error:
        raise InputError(f"{path} is not a readable file of torch.save: {error}") from error


def _foreign_names(path: Path) -> list[str]:
    """Return what the pickle wanted to import, as torch reads it off without running it."""
    try:
        return sorted(torch.serialization.get_unsafe_globals_in_checkpoint(path))
    except (*_DAMAGED, pickle.UnpicklingError):  # not a zip file: torch does not look into those
        return []


def _unwrapped(state: Any) -> Any:
    if isinstance(state, dict):
        for key in _WRAPPERS:
            if isinstance(state.get(key), dict):
                return state[key]
    return state

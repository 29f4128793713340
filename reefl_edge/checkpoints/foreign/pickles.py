"""How is a .pth file read, which is a pickle and could run anything?

By torch's own restricted unpickler (``weights_only=True``): it knows tensors and plain containers,
and raises on every other name in the pickle instead of importing it. What is a tensor to it need
not be one to us: only plain ones are read, that hold as many numbers as they declare.
"""

import pickle
import struct
import warnings
import zipfile
from pathlib import Path
from textwrap import shorten
from typing import Any

import torch

from reefl_edge.array_files.safetensors import Arrays
from reefl_edge.errors import InputError
from reefl_edge.files import replacing_file

# Under these the DeiT release and timm's training keep the state dict.
_WRAPPERS = ("model", "state_dict")
# What torch and zipfile let through when bytes of a file are missing or wrong.
_DAMAGED = (
    AssertionError, AttributeError, EOFError, IndexError, KeyError, MemoryError, OSError,
    OverflowError, RuntimeError, TypeError, ValueError, struct.error, zipfile.BadZipFile,
)  # fmt: skip
# The types that numpy has, too, or that widen to one it has.
_DTYPES = (
    torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.bool,
    torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8,
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
        raise InputError(
            f"{path} is not a state dict: {', '.join(others)} are no tensors; one is looked for at "
            f"the top and under {' or '.join(_WRAPPERS)}"
        )
    for name, tensor in state.items():
        if (problem := _problem(tensor)) is not None:
            raise InputError(f"{path}: {name} {problem}; only plain tensors are read")
    return {str(name): _array(tensor) for name, tensor in state.items()}


def write_state_dict(arrays: Arrays, path: Path) -> None:
    """Write arrays as a .pth file, whole or not at all."""
    state = {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
    with replacing_file(path) as partial:
        torch.save(state, partial)


def _problem(tensor: torch.Tensor) -> str | None:
    """Return what makes a tensor something else than an array, if anything does."""
    if type(tensor) not in (torch.Tensor, torch.nn.Parameter):
        return f"is a {type(tensor).__name__}"
    if tensor.is_nested or tensor.layout != torch.strided:
        return "is nested" if tensor.is_nested else "is sparse"
    if tensor.is_quantized:
        return "is quantised"
    if tensor.device.type != "cpu":
        return f"is on the {tensor.device.type} device and holds nothing"
    if tensor.dtype not in _DTYPES:
        return f"is of {tensor.dtype}"
    num_held = tensor.untyped_storage().nbytes() // tensor.element_size()
    if tensor.numel() > num_held:
        return f"declares {tensor.numel()} numbers and holds {num_held}"
    return None


def _array(tensor: torch.Tensor) -> Any:
    tensor = tensor.detach().resolve_neg()
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()


def _load(path: Path) -> Any:
    try:
        # Files older than torch 1.6 are no zip files, and cannot be mapped into memory.
        is_zip = zipfile.is_zipfile(path)
        if is_zip:
            _check_stored(path)
        with warnings.catch_warnings():
            # To torch's developers, of old forms, and of what is refused or damaged anyway.
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip)
    except pickle.UnpicklingError as error:
        found = _foreign_names(path)
        what = f" ({', '.join(found)})" if found else ""
        raise InputError(
            f"{path} is a pickle that holds more than tensors{what}; refused"
        ) from error
    except _DAMAGED as error:
        reason = shorten(str(error), 200) or type(error).__name__
        raise InputError(f"{path} is not a readable file of torch.save: {reason}") from error


def _check_stored(path: Path) -> None:
    """Refuse what torch would take for numbers as it stands: it never compresses."""
    with zipfile.ZipFile(path) as archive:
        if any(each.compress_type != zipfile.ZIP_STORED for each in archive.infolist()):
            raise InputError(f"{path} is a compressed archive, which torch.save does not write")


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

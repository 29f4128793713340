"""Which file is meant, and how are its arrays read without running anything in it?

A file (.safetensors, .npz, or a pickle of tensors: .pth, .pt, .bin), a folder as transformers and
timm write it, or a hub id ``owner/name``.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reefl_edge.data.npz import read_array_file
from reefl_edge.errors import InputError, MissingToolchainError
from reefl_edge.foreign.config import FolderConfig, read_config
from reefl_edge.weights import Arrays, read_safetensors

PICKLE_SUFFIXES = (".pth", ".pt", ".bin")
SUFFIXES = (".safetensors", ".npz", *PICKLE_SUFFIXES)
# In a folder or on the hub, the first of these that is there.
WEIGHTS_NAMES = ("model.safetensors", "pytorch_model.bin")

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True, slots=True)
class Located:
    """A file of weights on this machine, and what the files beside it say."""

    path: Path
    config: FolderConfig


def is_hub_id(text: str) -> bool:
    """Tell whether a text can be the id of a model on the hub: ``owner/name``.

    >>> is_hub_id("facebook/deit-tiny-patch16-224"), is_hub_id("out/model.pth")
    (True, False)
    """
    return bool(_HUB_ID.fullmatch(text)) and not text.endswith(SUFFIXES) and text[0] != "."


def locate(source: str | Path) -> Located:
    """Find the file of weights that a path or a hub id means, downloading it if need be.

    Raises:
        InputError: There is no such file, or the hub does not give it.
        MissingToolchainError: A hub id, without the package for it.
    """
    path = Path(source)
    if path.is_dir():
        return _in_folder(path)
    if path.exists():
        return Located(path, FolderConfig())
    if isinstance(source, str) and is_hub_id(source):
        from reefl_edge.foreign.hub import download

        return _in_folder(download(source))
    raise InputError(f"{source}: no such file")


def _in_folder(folder: Path) -> Located:
    for name in WEIGHTS_NAMES:
        if (folder / name).is_file():
            return Located(folder / name, read_config(folder))
    raise InputError(f"{folder} holds no weights: no {' and no '.join(WEIGHTS_NAMES)}")


def read_arrays(path: Path) -> Arrays:
    """Read the arrays of a file; those of floating point become float32.

    Raises:
        InputError: The file is damaged, of an unknown kind, or holds more than arrays.
        MissingToolchainError: A pickle, without torch to read it safely.
    """
    match path.suffix:
        case ".safetensors":
            arrays, _ = read_safetensors(path)
        case ".npz":
            arrays = read_array_file(path)
        case suffix if suffix in PICKLE_SUFFIXES:
            arrays = _read_pickle(path)
        case _:
            raise InputError(f"{path} is no {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]} file")
    return {name: _float32(array) for name, array in arrays.items()}


def _float32(array: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return floats of any width as float32: the released server averages in float64."""
    return array.astype(np.float32, copy=False) if array.dtype.kind == "f" else array


def _read_pickle(path: Path) -> Arrays:
    try:
        from reefl_edge.foreign.pickles import read_state_dict
    except ImportError as error:
        raise MissingToolchainError.for_extra(f"reading {path.name}", "torch", "train") from error
    return read_state_dict(path)

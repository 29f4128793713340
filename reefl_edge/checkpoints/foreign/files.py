"""Which file is meant, and how are its arrays read without running anything in it?

A file (.safetensors, .npz, or a pickle of tensors: .pth, .pt, .bin), a folder as transformers and
timm write it, or a hub id ``owner/name``.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reefl_edge.array_files.npz import read_array_file
from reefl_edge.array_files.safetensors import Arrays, check_num_elements, read_safetensors
from reefl_edge.checkpoints.foreign.config import WEIGHTS_NAMES, FolderConfig, read_config
from reefl_edge.checkpoints.metadata import check_finite
from reefl_edge.errors import InputError
from reefl_edge.extras import needs_extra
from reefl_edge.files import regular_file

PICKLE_SUFFIXES = (".pth", ".pt", ".bin")
SUFFIXES = (".safetensors", ".npz", *PICKLE_SUFFIXES)

# Neither -- nor .. anywhere, and no part that begins or ends with - or .: the hub's own rule.
_HUB_ID = re.compile(r"(?!.*(?:--|\.\.))(?:\w|\w[\w.-]*\w)/(?:\w|\w[\w.-]*\w)", re.ASCII)
# How no model on the hub is called, but files are: of weights, and what is mistaken for them.
_FILE_SUFFIXES = (
    *SUFFIXES, ".ckpt", ".gz", ".h5", ".json", ".mlpackage", ".npy", ".onnx", ".pkl", ".pte",
    ".tar", ".toml", ".zip",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Located:
    """A file of weights on this machine, and what the files beside it say."""

    path: Path
    config: FolderConfig


def is_hub_id(text: str) -> bool:
    """Tell whether a text can be the id of a model on the hub, ``owner/name``, and no path.

    What ends like a file, or begins with a folder that is here, is a path, if a mistyped one: the
    hub is not asked for it.

    >>> is_hub_id("facebook/deit-tiny-patch16-224"), is_hub_id("out/model.pth")
    (True, False)
    """
    if not _HUB_ID.fullmatch(text) or text.lower().endswith(_FILE_SUFFIXES):
        return False
    return not Path(text.partition("/")[0]).exists()


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
        return Located(regular_file(path), FolderConfig())
    if isinstance(source, str) and is_hub_id(source):
        from reefl_edge.checkpoints.foreign.hub import download

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
        InputError: The file is damaged, of an unknown kind, holds more than arrays, or numbers that
            are not finite in float32.
        MissingToolchainError: A pickle, without torch to read it safely.
    """
    match regular_file(path).suffix:
        case ".safetensors":
            arrays = read_safetensors(path, widens=True)
        case ".npz":
            arrays = read_array_file(path)
        case suffix if suffix in PICKLE_SUFFIXES:
            arrays = _read_pickle(path)
        case _:
            raise InputError(f"{path} is no {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]} file")
    check_num_elements({name: array.shape for name, array in arrays.items()}, path)
    with np.errstate(over="ignore"):  # what is beyond float32 is refused as infinite
        narrowed = {name: _float32(array) for name, array in arrays.items()}
    check_finite(narrowed, str(path))
    return narrowed


def _float32(array: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return floats of any width as float32: the released server averages in float64."""
    return array.astype(np.float32, copy=False) if array.dtype.kind == "f" else array


def _read_pickle(path: Path) -> Arrays:
    with needs_extra(f"reading {path.name}", "torch", "train"):
        from reefl_edge.checkpoints.foreign.pickles import read_state_dict
    return read_state_dict(path)

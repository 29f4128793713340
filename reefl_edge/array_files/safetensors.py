"""What is in a safetensors file, whoever wrote it, and what is refused before memory is spent?

A file begins with the length of its header, 8 bytes little-endian; then comes the header, JSON that
names every array with its type, shape and place, and perhaps padded with spaces; then the arrays.
Source: the safetensors format description.
"""

import json
import os
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from reefl_edge.errors import InputError
from reefl_edge.files import regular_file, replacing_file
from reefl_edge.schema import parse_json
from reefl_edge.sizes import MAX_ELEMENTS
from reefl_edge.submodel import Shape

Arrays = dict[str, NDArray[np.float32]]

_LENGTH_BYTES = 8
_METADATA = "__metadata__"
# The types that numpy has, too.
_DTYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16",
    "I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8",
    "U64": "uint64", "U32": "uint32", "U16": "uint16", "U8": "uint8", "BOOL": "bool",
}  # fmt: skip
_BFLOAT16 = "BF16"


@dataclass(frozen=True, slots=True)
class Entry:
    """What a file says of one array.

    Attributes:
        dtype: Its type, by numpy's name where numpy has it.
        shape: Its shape.
        offset: Where its bytes begin in the file.
        length: How many there are.
    """

    dtype: str
    shape: Shape
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Header:
    """What a file says of itself: its metadata, and its arrays by name."""

    metadata: dict[str, str]
    entries: dict[str, Entry]


def read_header(path: Path) -> Header:
    """Read what a safetensors file says of itself, which it is held to.

    Raises:
        InputError: The file is missing or damaged, or declares other bytes than it holds.
    """
    with _opened(path):  # the library holds lengths, types and places to each other and to the file
        pass
    with path.open("rb") as file:
        length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
        document = parse_json(file.read(length), source=str(path))
    metadata = document.pop(_METADATA, {})
    start = _LENGTH_BYTES + length
    return Header(metadata, {name: _entry(said, start) for name, said in document.items()})


def _entry(said: dict[str, Any], start: int) -> Entry:
    first, last = said["data_offsets"]
    dtype = _DTYPES.get(said["dtype"], said["dtype"])
    return Entry(dtype, tuple(said["shape"]), start + first, last - first)


def data_ranges(path: Path) -> dict[str, tuple[int, int]]:
    """Return where each array's bytes lie in a safetensors file: offset and length, in bytes.

    Raises:
        InputError: As for ``read_header``.
    """
    entries = read_header(path).entries
    return {name: (entry.offset, entry.length) for name, entry in entries.items()}


def read_safetensors(
    path: Path, names: Collection[str] | None = None, *, widens: bool = False
) -> Arrays:
    """Read the arrays of any safetensors file.

    Args:
        path: The file.
        names: Of which to read, as far as it holds them; None for all.
        widens: Arrays of bfloat16, which numpy lacks, become float32, which loses nothing.

    Raises:
        InputError: The file is missing or damaged, holds a type that numpy lacks, or more than any
            model that is supported.
    """
    entries = read_header(path).entries
    check_num_elements({name: entry.shape for name, entry in entries.items()}, path)
    known = {*_DTYPES.values(), *([_BFLOAT16] if widens else ())}
    for name, entry in entries.items():
        if entry.dtype not in known:
            raise InputError(
                f"{path}: {name} is {entry.dtype}, which numpy lacks: save it as float32"
            )
    chosen = {name: entries[name] for name in entries if names is None or name in names}
    with _opened(path) as file:
        return {
            name: _widened(path, entry) if entry.dtype == _BFLOAT16 else file.get_tensor(name)
            for name, entry in chosen.items()
        }


def _widened(path: Path, entry: Entry) -> NDArray[np.float32]:
    """Read an array of bfloat16, whose bits are the upper half of a float32's."""
    halves = np.fromfile(path, "<u2", count=prod(entry.shape), offset=entry.offset)
    return (halves.astype(np.uint32) << 16).view(np.float32).reshape(entry.shape)


def map_safetensors(path: Path) -> Arrays:
    """Return the float32 arrays of a safetensors file as views of it, which cannot be written to.

    The file must stay as it is for as long as they are used; it may lose its name.

    Raises:
        InputError: The file is missing or damaged, or holds another type.
    """
    entries = read_header(path).entries
    content = np.memmap(path, np.uint8, "r")
    for name, entry in entries.items():
        if entry.dtype != "float32":
            raise InputError(f"{path} holds arrays that are not float32: {name} is {entry.dtype}")
    return {
        name: content[entry.offset :][: entry.length].view("<f4").reshape(entry.shape)
        for name, entry in entries.items()
    }


def check_num_elements(shapes: Mapping[str, Shape], path: Path) -> None:
    """Refuse arrays that are together larger than any model that is supported.

    Raises:
        InputError: They are.
    """
    num_elements = sum(map(prod, shapes.values()))
    if num_elements > MAX_ELEMENTS:
        raise InputError(
            f"{path} declares {num_elements} numbers; at most {MAX_ELEMENTS} are supported"
        )


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with safe_open(regular_file(path), framework="numpy") as file:
            yield file
    except (SafetensorError, ValueError) as error:  # or a shape that numpy does not take
        raise InputError(f"{path} is not a readable safetensors file: {error}") from error


def write_safetensors(
    arrays: Mapping[str, NDArray[Any]],
    path: Path,
    metadata: dict[str, str] | None = None,
    *,
    room: int = 1,
) -> None:
    """Write arrays, whole or not at all.

    Args:
        arrays: By name.
        path: Where to.
        metadata: One text at most is written the same every time: the library shuffles several.
        room: Each text is padded with spaces to a multiple of this many bytes in the header, so
            that arrays stay where they are whatever it says.

    Raises:
        OSError: The folder cannot be written to, or the disk is full.
    """
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    padded = {key: _padded(text, room) for key, text in (metadata or {}).items()}
    # The library writes to a name of its own beside the file, which a kill would leave there.
    with replacing_file(path, apart=True) as partial:
        try:
            save_file(contiguous, partial, metadata=padded or None)
        except SafetensorError as error:
            raise _of_the_system(error, path) from error


def _of_the_system(error: SafetensorError, path: Path) -> Exception:
    """Return what the system said, of which the library gives the text alone."""
    number = re.search(r"\(os error (\d+)\)", str(error))
    if number is None:
        return error
    return OSError(int(number[1]), os.strerror(int(number[1])), str(path))


def _padded(text: str, room: int) -> str:
    length = len(json.dumps(text, ensure_ascii=False).encode())  # as the header has it, escaped
    return text + " " * (-length % room)


def not_finite(arrays: Mapping[str, NDArray[Any]]) -> str | None:
    """Return the name of the first array with NaN or an infinity; None if all are finite.

    The least and the largest number tell: NaN is both, and neither takes memory to find.
    """
    for name, array in arrays.items():
        if array.dtype.kind != "f" or not array.size:
            continue
        if not (np.isfinite(array.min()) and np.isfinite(array.max())):
            return name
    return None

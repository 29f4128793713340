"""What arrays does an .npy or .npz file hold, when it may be damaged, foreign or hostile?

A file says how large its arrays are before it shows them. The bytes it *declares* are held against
those it *holds* before memory is taken for them, and must be exactly as many. Nothing is unpickled:
arrays are of numbers, booleans or text.

Source: NumPy Enhancement Proposal 1, the .npy format; zlib's technical details for the ratio.
"""

import math
import struct
import tokenize
import warnings
import zipfile
import zlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from reefl_edge.errors import InputError
from reefl_edge.files import regular_file

Array = NDArray[Any]

# Booleans, integers with and without a sign, floats, bytes and text: numpy's letters for them.
_KINDS = "biufSU"
# Deflate never packs more bytes than this into one.
_LARGEST_RATIO = 1032
_CHUNK_BYTES = 2**20
_IS_ENCRYPTED = 0x1  # a flag of a zip file's member
_LONGEST_REASON = 200

# What numpy's parser of headers lets through; it reads a Python literal.
_UNPARSED = (
    LookupError, MemoryError, OverflowError, RecursionError, SyntaxError, TypeError,
    tokenize.TokenError,
)  # fmt: skip
# What zipfile lets through where a directory or a member is damaged; by RuntimeError it means
# what is packed in an unknown way.
_DAMAGED = (
    ValueError, EOFError, LookupError, MemoryError, OSError, OverflowError, RuntimeError,
    struct.error, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


def read_array_file(path: Path, *, lone: str | None = None) -> dict[str, Array]:
    """Read the arrays of an .npz file by their names, or the one of an .npy file.

    Args:
        path: The file.
        lone: What to call the array of an .npy file; None refuses such a file.

    Raises:
        InputError: The file is missing or damaged, declares more or fewer bytes than it holds, or
            holds anything but arrays of numbers, booleans and text.
    """
    size_bytes = regular_file(path).stat().st_size
    try:
        with path.open("rb") as file:
            is_npy = file.read(len(npy.MAGIC_PREFIX)) == npy.MAGIC_PREFIX
            file.seek(0)
            if not is_npy:
                return _read_members(file, size_bytes)
            if lone is not None:
                return {lone: _read_array(file, size_bytes)}
    except _DAMAGED as error:
        reason = " ".join(str(error).split())[:_LONGEST_REASON]
        raise InputError(f"{path}: not a readable .npy or .npz file: {reason}") from error
    raise InputError(f"{path} is one array, not an .npz file of several")


def as_texts(array: Array, name: str) -> tuple[str, ...]:
    """Return an array of text (N,) as strings; bytes are UTF-8.

    Raises:
        ValueError: It is of another shape or type.
    """
    if array.ndim != 1 or array.dtype.kind not in "SU":
        raise ValueError(f"{name} must be text (N,), got {array.dtype.name} {array.shape}")
    return tuple(text.decode() if isinstance(text, bytes) else text for text in array.tolist())


def _read_members(file: IO[bytes], size_bytes: int) -> dict[str, Array]:
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        _check_members(members, size_bytes)
        arrays = {}
        for member in members:
            name = member.filename.removesuffix(".npy")
            try:
                with archive.open(member) as stream:
                    arrays[name] = _read_array(stream, member.file_size)
            except ValueError as error:
                raise ValueError(f"its {name!r}: {error}") from error
        return arrays


def _check_members(members: Sequence[zipfile.ZipInfo], size_bytes: int) -> None:
    """Hold what a zip file says of its members to what it can be.

    Raises:
        ValueError: A name comes twice, a member is packed otherwise than numpy packs, or the sizes
            cannot be true.
    """
    names = Counter(member.filename.removesuffix(".npy") for member in members)
    for name, count in names.items():
        if count > 1:
            raise ValueError(f"{count} of its arrays are called {name!r}")
    for member in members:
        if not member.filename.isprintable():
            raise ValueError(f"its {member.filename!r} is no name of an array")
        if member.flag_bits & _IS_ENCRYPTED:
            raise ValueError(f"its {member.filename!r} is encrypted")
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError(f"its {member.filename!r} is packed as numpy does not pack")
        if member.file_size > _LARGEST_RATIO * member.compress_size:
            raise ValueError(
                f"its {member.filename!r} declares {member.file_size} bytes, "
                f"but holds {member.compress_size} packed ones"
            )
    if sum(member.compress_size for member in members) > size_bytes:
        raise ValueError("its members overlap")


def _read_array(stream: IO[bytes], size_bytes: int) -> Array:
    """Read one array from the beginning of a stream of known size.

    Raises:
        ValueError: It is damaged, not plain, or not of that size.
    """
    shape, is_fortran, dtype = _read_header(stream)
    if dtype.kind not in _KINDS or not dtype.itemsize:
        raise ValueError(f"an array of {dtype.name} is none of numbers, booleans or text")
    declared, held = math.prod(shape) * dtype.itemsize, size_bytes - stream.tell()
    if min(shape, default=0) < 0 or declared != held:
        raise ValueError(f"an array {shape} of {dtype.name} is {declared} bytes, it holds {held}")
    if declared > _memory_bytes():
        raise ValueError(f"its {declared} bytes are more than the memory of this machine")
    array = _read_bytes(stream, declared).view(dtype)
    if dtype.kind == "U":
        _check_text(array)
    return array.reshape(shape, order="F" if is_fortran else "C")


def _memory_bytes() -> int:
    import psutil  # takes longer than all else here, and many never read such a file

    return int(psutil.virtual_memory().total)


def _read_header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Return shape, whether the first axis varies fastest, and type."""
    readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    version = npy.read_magic(stream)
    if version not in readers:  # 3.0 is for named columns
        raise ValueError(f"version {version} of the format is not for plain arrays")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what Python 2 wrote, which is read all the same
            shape, is_fortran, dtype = readers[version](stream)
    except _UNPARSED as error:
        raise ValueError(f"its header does not parse: {error}") from error
    if not all(type(size) is int for size in shape):  # True counts as a number in Python
        raise ValueError(f"{shape} is no shape")
    return shape, is_fortran, dtype


def _read_bytes(stream: IO[bytes], count: int) -> NDArray[np.uint8]:
    """Read exactly ``count`` bytes, to the end of the stream, where a zip file's checksum counts.

    Raises:
        ValueError: There are more or fewer.
    """
    content = np.empty(count, np.uint8)
    filled = 0
    while filled < count and (chunk := stream.read(min(_CHUNK_BYTES, count - filled))):
        content[filled : filled + len(chunk)] = np.frombuffer(chunk, np.uint8)
        filled += len(chunk)
    if filled != count or stream.read(1):
        raise ValueError(f"it does not hold the {count} bytes it declares")
    return content


def _check_text(array: Array) -> None:
    """Refuse text that no string can hold: numbers beyond Unicode, and halves of pairs."""
    codes = array.view(array.dtype.byteorder + "u4")
    if ((codes > 0x10FFFF) | ((codes >= 0xD800) & (codes <= 0xDFFF))).any():
        raise ValueError("its text is no Unicode")

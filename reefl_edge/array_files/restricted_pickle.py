"""How is CIFAR's python version read without executing a pickle?

A pickle is a program: it may name any function and call it. This reader knows the few names that
an 8-bit array is written with, and puts inert stand-ins in their place; any other name ends the
reading before anything is called. What would break the unpickler itself is refused beforehand.

Source: the Python documentation, pickle, "Restricting Globals".
"""

import io
import math
import pickle
import pickletools
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from reefl_edge.errors import InputError

_NOTES = ("PUT", "BINPUT", "LONG_BINPUT")
_TUPLES = ("TUPLE", "TUPLE1", "TUPLE2", "TUPLE3")
# Python 3 writes one for each of the 50,000 names of pictures in CIFAR-100's training file. The
# stack of 8 MiB overflows at some 150,000, each in the next.
_MOST_TUPLES = 60_000
# What unpickling raises on bytes that are no pickle, or one cut short.
_DAMAGED = (
    pickle.UnpicklingError,
    AttributeError,
    EOFError,
    IndexError,
    KeyError,
    MemoryError,
    OverflowError,
    RecursionError,
    TypeError,
    ValueError,
)


def load_plain(data: bytes, *, name: str) -> Any:
    """Read a pickle of plain Python values and 8-bit arrays.

    Args:
        data: The pickle; text that Python 2 wrote becomes bytes.
        name: Of the file, for messages.

    Returns:
        The value; arrays in it are ``PickledArray``.

    Raises:
        InputError: It is damaged, or names anything but what an array is written with.
    """
    try:
        _check_bounds(data)
        return _PlainUnpickler(io.BytesIO(data), encoding="bytes").load()
    except _DAMAGED as error:
        raise InputError(f"{name}: not a readable pickle of plain data: {error}") from error


def _check_bounds(data: bytes) -> None:
    """Refuse what a pickle of this size does not need.

    The unpickler takes memory for as many notes as the highest number of one, and a tuple in a
    tuple in a tuple, as the key of a dictionary, overflows the interpreter's stack.

    Raises:
        ValueError: It is damaged, numbers a note beyond its size, or holds too many tuples.
    """
    num_tuples = 0
    for opcode, argument, _ in pickletools.genops(data):
        if opcode.name in _NOTES and int(argument or 0) > len(data):
            raise ValueError(f"it numbers a note {argument}")
        num_tuples += opcode.name in _TUPLES
    if num_tuples > _MOST_TUPLES:
        raise ValueError(f"it holds {num_tuples} tuples, more than {_MOST_TUPLES}")


class PickledArray:
    """What a pickle says of an array: its shape, type and content."""

    _state: Any = None  # of the class: a pickle may make an array without __init__

    def __setstate__(self, state: Any) -> None:
        self._state = state

    def pixels(self) -> NDArray[np.uint8]:
        """Return the array.

        Raises:
            ValueError: It is not an array of bytes, or holds more or fewer than its shape says.
        """
        match self._state:
            case (_, tuple() as shape, PickledType(code="u1" | b"u1"), is_fortran, bytes(content)):
                if not all(type(size) is int and size >= 0 for size in shape):
                    raise ValueError("the pickled array has no shape")
                if math.prod(shape) != len(content):
                    raise ValueError(
                        f"the pickled array is of shape {shape}, but holds {len(content)} bytes"
                    )
                order: Literal["F", "C"] = "F" if is_fortran else "C"
                return np.frombuffer(content, np.uint8).reshape(shape, order=order)
        raise ValueError("the pickled array is not of 8-bit numbers")


class PickledType:
    """What a pickle says of an array's type."""

    def __init__(self, code: object, *_: object) -> None:
        self.code = code

    def __setstate__(self, state: object) -> None:
        """Take no notice: bytes have no byte order."""


def _reconstruct(*_: object) -> PickledArray:
    return PickledArray()


def _encode(text: str, encoding: str) -> bytes:
    """Return bytes that Python 3 wrote for Python 2 to read."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"bytes are not written as {encoding}")
    return text.encode("latin1")


def _empty_bytes() -> bytes:
    """Return no bytes, which Python 3 writes as a call without arguments."""
    return b""


_ALLOWED: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy", "ndarray"): PickledArray,
    ("numpy", "dtype"): PickledType,
    ("_codecs", "encode"): _encode,
    ("__builtin__", "bytes"): _empty_bytes,
}


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """Return the stand-in for a name; refuse every name that has none."""
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"refused to load {module}.{name}")
        return _ALLOWED[module, name]

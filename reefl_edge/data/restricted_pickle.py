"""How is CIFAR's python version read without executing a pickle?

A pickle is a program: it may name any function and call it. This reader knows the few names that
an 8-bit array is written with, and puts inert stand-ins in their place; any other name ends the
reading before anything is called.

Source: the Python documentation, pickle, "Restricting Globals".
"""

import io
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reefl_edge.errors import InputError

# What unpickling raises on bytes that are no pickle, or one cut short.
_DAMAGED = (
    pickle.UnpicklingError,
    AttributeError,
    EOFError,
    IndexError,
    KeyError,
    MemoryError,
    OverflowError,
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
        return _PlainUnpickler(io.BytesIO(data), encoding="bytes").load()
    except _DAMAGED as error:
        raise InputError(f"{name}: not a readable pickle of plain data: {error}") from error


class PickledArray:
    """What a pickle says of an array: its shape, type and content."""

    def __init__(self) -> None:
        self._state: Any = None

    def __setstate__(self, state: Any) -> None:
        self._state = state

    def pixels(self) -> NDArray[np.uint8]:
        """Return the array.

        Raises:
            ValueError: It is not an array of bytes, or holds more or fewer than its shape says.
        """
        match self._state:
            case (_, tuple() as shape, PickledType(code="u1" | b"u1"), is_fortran, bytes(content)):
                array: NDArray[np.uint8] = np.frombuffer(content, np.uint8).reshape(
                    tuple(int(size) for size in shape), order="F" if is_fortran else "C"
                )
                return array
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

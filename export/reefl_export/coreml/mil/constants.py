"""Which arrays stand in a program, and in its weights file?

A constant is *immediate*, in the program itself, or in the weights file, at an offset. Half
precision is held as the float32 of the same value, in which products are many times faster; what
is held so is never anything but a float16 (``function`` rounds each result).

Source: MIL.proto, coremltools 9.0.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reefl_edge.errors import ParityError

# An array, of no axes for a number or a truth value, or text.
Value = NDArray[Any] | str

# Data types of MIL.proto that programs made here use. Those of less than a byte take one each.
_DTYPES: dict[str, type[np.generic]] = {
    "BOOL": np.bool_,
    "FLOAT16": np.float16,
    "FLOAT32": np.float32,
    "INT8": np.int8,
    "INT32": np.int32,
    "STRING": np.str_,
    "UINT4": np.uint8,
}
# How the reader of coremltools calls those that the weights file holds.
_BLOBS = {"FLOAT16": "fp16", "FLOAT32": "float", "INT8": "int8", "INT32": "int32", "UINT4": "uint4"}
# Those of weights that are widened at once, and read anew by whoever asks again.
_WIDENED = ("INT8", "UINT4")


@dataclass(frozen=True, slots=True)
class TensorType:
    """The type of a value: a name of MIL.proto's ``DataType``, and a shape."""

    name: str
    shape: tuple[int, ...]

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of its elements; half precision is held as float32 all the same."""
        return np.dtype(_DTYPES[self.name])

    def hold(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return an array as this type holds it: half precision as float32."""
        return array.astype(np.float32 if self.name == "FLOAT16" else self.dtype, copy=False)


def type_of(value_type: Any) -> TensorType:
    """Return the type that a ``ValueType`` message describes.

    Raises:
        ParityError: It is no tensor of a known data type and fixed shape.
    """
    from coremltools.proto import MIL_pb2

    tensor = value_type.tensorType
    name = MIL_pb2.DataType.Name(tensor.dataType)
    sizes = [dimension.constant.size for dimension in tensor.dimensions]
    is_fixed = all(dimension.HasField("constant") for dimension in tensor.dimensions)
    if name not in _DTYPES or not is_fixed:
        raise ParityError(f"the check of Core ML programs knows no tensor of {name} {sizes}")
    return TensorType(name, tuple(sizes))


class Constants:
    """The constants of one program; each array of numbers in the weights file is held once.

    Args:
        weights: The weights file; it need not exist for a program that refers to none.
    """

    def __init__(self, weights: Path) -> None:
        self._weights = weights
        self._arrays: dict[tuple[int, TensorType], NDArray[Any]] = {}

    def value(self, message: Any) -> Value:
        """Return what a ``Value`` message stands for.

        Raises:
            ParityError: It is of a type that programs made here do not use.
        """
        tensor_type = type_of(message.type)
        if message.WhichOneof("value") == "blobFileValue":
            return self._stored(message.blobFileValue.offset, tensor_type)
        return _immediate(message.immediateValue.tensor, tensor_type)

    def _stored(self, offset: int, tensor_type: TensorType) -> NDArray[Any]:
        key = offset, tensor_type
        if key in self._arrays:
            return self._arrays[key]
        array = self._read(offset, tensor_type)
        if tensor_type.name not in _WIDENED:
            self._arrays[key] = array
        return array

    def _read(self, offset: int, tensor_type: TensorType) -> NDArray[Any]:
        from coremltools.libmilstoragepython import _BlobStorageReader

        # One that is kept has the whole file in memory, beside the arrays.
        reader = _BlobStorageReader(str(self._weights))
        read: Callable[[int], NDArray[Any]]
        read = getattr(reader, f"read_{_BLOBS[tensor_type.name]}_data")
        array = np.asarray(read(offset))
        if tensor_type.name == "FLOAT16":  # the reader gives its bits
            array = array.view(np.float16)
        return tensor_type.hold(array).reshape(tensor_type.shape)


def _immediate(tensor: Any, tensor_type: TensorType) -> Value:
    kind = tensor.WhichOneof("value")
    values = getattr(tensor, kind).values
    if kind == "strings":
        return str(values[0])
    if kind == "bytes":
        array = np.frombuffer(values, tensor_type.dtype)
        return tensor_type.hold(array).reshape(tensor_type.shape)
    return np.array(values, tensor_type.dtype).reshape(tensor_type.shape)

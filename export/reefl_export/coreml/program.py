"""What is an ML program before it is a package: functions, and the arrays that they refer to?

coremltools writes a package for each segment. What stands in them becomes one program, a function
per segment, each array once; every precision is a rewriting of that program, and is written as a
package again.

Source: MIL.proto and Model.proto, coremltools 9.0.
"""

import hashlib
import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import numpy as np
from numpy.typing import NDArray

from reefl_export.coreml.mil.constants import Constants, TensorType, type_of
from reefl_export.coreml.mil.package import (
    LIST_PATH,
    SPEC_PATH,
    WEIGHTS_PATH,
    load_coremltools,
    load_spec,
)

# How coremltools' writer of weights files calls the types.
_WRITERS = {
    "FLOAT16": "write_fp16_data",
    "FLOAT32": "write_float_data",
    "INT8": "write_int8_data",
    "INT32": "write_int32_data",
    "UINT4": "write_uint4_data",
}
# As the programs have it: relative to the package, wherever that lies.
_WEIGHTS_NAME = "@model_path/weights/weight.bin"


@dataclass(frozen=True, slots=True)
class Program:
    """Functions, and the arrays they refer to.

    Attributes:
        model: The ``Model`` message of Model.proto. Where a package has the offset of an array in
            its weights file, this has the array's number.
        arrays: The arrays, by their numbers.
    """

    model: Any
    arrays: dict[int, NDArray[Any]]

    def copy(self) -> "Program":
        """Return a program that can be changed: with messages of its own, and the same arrays."""
        model = type(self.model)()
        model.CopyFrom(self.model)
        return Program(model, dict(self.arrays))

    def functions(self) -> Iterator[Any]:
        """Give the ``Function`` messages by their names; a map keeps no order of its own."""
        functions = self.model.mlProgram.functions
        yield from (functions[name] for name in sorted(functions))

    def add(self, array: NDArray[Any]) -> int:
        """Take an array in; return its number."""
        number = len(self.arrays)
        self.arrays[number] = array
        return number


def joined(parts: Mapping[str, Path], held: Iterable[NDArray[Any]]) -> Program:
    """Return packages of one function each as the functions of one program.

    Args:
        parts: The packages, by the names that the functions are to have; the first one's is the
            default.
        held: Arrays that are in memory anyway: what equals one of them is that one, not a copy.
    """
    load_coremltools()
    from coremltools.proto import Model_pb2

    program = Program(Model_pb2.Model(), {})
    program.model.description.defaultFunctionName = next(iter(parts))
    program.model.mlProgram.version = 1
    numbers: dict[tuple[TensorType, bytes], int] = {}
    originals = {(array.dtype, _digest(array)): array for array in held}
    for name, path in parts.items():
        part = load_spec(path)
        program.model.specificationVersion = part.specificationVersion
        described = program.model.description.functions.add(name=name)
        described.input.extend(part.description.input)
        described.output.extend(part.description.output)
        function = program.model.mlProgram.functions[name]
        function.CopyFrom(part.mlProgram.functions["main"])
        constants = Constants(path / WEIGHTS_PATH)
        for value in _stored_values(function):
            array = np.asarray(constants.value(value))
            digest = _digest(array)
            key = type_of(value.type), digest
            if key not in numbers:
                original = originals.get((array.dtype, digest), array)
                numbers[key] = program.add(original.reshape(array.shape))
            value.blobFileValue.offset = numbers[key]
    return program


def _digest(array: NDArray[Any]) -> bytes:
    return hashlib.sha256(np.ascontiguousarray(array).data).digest()


def write_program(program: Program, path: Path) -> None:
    """Write a program as a package."""
    ct = load_coremltools()
    from coremltools.libmilstoragepython import _BlobStorageWriter

    copy = program.copy()
    offsets: dict[int, int] = {}
    with tempfile.TemporaryDirectory() as folder:
        writer = _BlobStorageWriter(str(Path(folder, "weight.bin")))
        for function in copy.functions():
            for value in _stored_values(function):
                number = value.blobFileValue.offset
                if number not in offsets:
                    array = np.ascontiguousarray(program.arrays[number]).reshape(-1)
                    if array.dtype == np.float16:  # the writer takes its bits
                        array = array.view(np.uint16)
                    offsets[number] = getattr(writer, _WRITERS[type_of(value.type).name])(array)
                value.blobFileValue.offset = offsets[number]
        del writer  # which completes the file
        ct.models.utils.save_spec(copy.model, str(path), weights_dir=folder)
    _settle(path)
    # coremltools lets only its owner in.
    (path / WEIGHTS_PATH).parent.chmod(0o755)
    (path / SPEC_PATH).chmod(0o644)


def _settle(path: Path) -> None:
    """Write anew what coremltools writes in another way each time.

    That is maps in no order, and the names of a package's items, drawn by chance.
    """
    (path / SPEC_PATH).write_bytes(load_spec(path).SerializeToString(deterministic=True))
    listed = json.loads((path / LIST_PATH).read_text())
    items = listed["itemInfoEntries"]
    names = {name: str(uuid5(NAMESPACE_URL, item["path"])) for name, item in items.items()}
    listed["itemInfoEntries"] = {names[name]: item for name, item in items.items()}
    listed["rootModelIdentifier"] = names[listed["rootModelIdentifier"]]
    (path / LIST_PATH).write_text(json.dumps(listed, indent=4, sort_keys=True) + "\n")


def operations_of(function: Any) -> Any:
    """Return the operations of a ``Function`` message, a list that can be changed."""
    return function.block_specializations[function.opset].operations


def values_of(function: Any) -> Iterator[Any]:
    """Give the ``Value`` messages in a function: of constants, and of what is bound in place.

    By name: protobuf's own order is another in every process.
    """
    for operation in operations_of(function):
        for name in sorted(operation.attributes):
            yield operation.attributes[name]
        for name in sorted(operation.inputs):
            for binding in operation.inputs[name].arguments:
                if binding.WhichOneof("binding") == "value":
                    yield binding.value


def _stored_values(function: Any) -> Iterator[Any]:
    return (value for value in values_of(function) if value.HasField("blobFileValue"))


def operation(kind: str, output: Any, **inputs: Any) -> Any:
    """Return an ``Operation`` message with one output.

    Args:
        kind: Its operator.
        output: What it gives, a ``NamedValueType`` message.
        inputs: What it takes: the names of results, or ``Value`` messages.
    """
    from coremltools.proto import MIL_pb2

    made = MIL_pb2.Operation(type=kind, outputs=[output])
    made.attributes["name"].CopyFrom(text(output.name))
    for name, source in inputs.items():
        binding = made.inputs[name].arguments.add()
        if isinstance(source, str):
            binding.name = source
        else:
            binding.value.CopyFrom(source)
    return made


def constant(name: str, value: Any) -> Any:
    """Return the ``Operation`` message that gives a ``Value`` message a name."""
    from coremltools.proto import MIL_pb2

    made = operation("const", MIL_pb2.NamedValueType(name=name, type=value.type))
    made.attributes["val"].CopyFrom(value)
    return made


def text(content: str) -> Any:
    """Return the ``Value`` message of a text."""
    from coremltools.proto import MIL_pb2

    value = MIL_pb2.Value(type=_type("STRING", ()))
    value.immediateValue.tensor.strings.values.append(content)
    return value


def stored(number: int, data_type: str, shape: Sequence[int]) -> Any:
    """Return the ``Value`` message of an array of a program.

    Args:
        number: Its number.
        data_type: A name of MIL.proto's ``DataType``.
        shape: Its shape.
    """
    from coremltools.proto import MIL_pb2

    value = MIL_pb2.Value(type=_type(data_type, shape))
    value.blobFileValue.fileName, value.blobFileValue.offset = _WEIGHTS_NAME, number
    return value


def _type(data_type: str, shape: Sequence[int]) -> Any:
    from coremltools.proto import MIL_pb2

    value_type = MIL_pb2.ValueType()
    tensor = value_type.tensorType
    tensor.dataType, tensor.rank = MIL_pb2.DataType.Value(data_type), len(shape)
    for size in shape:
        tensor.dimensions.add().constant.size = size
    return value_type

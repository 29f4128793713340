"""How does a float32 program store and compute in half precision?

Everything between a function's inputs and outputs becomes float16, what it takes and gives stays
float32: the operations that coremltools makes with ``compute_precision=FLOAT16``.
"""

from typing import Any

import numpy as np

from reefl_export.coreml.program import (
    Program,
    constant,
    operation,
    operations_of,
    text,
    values_of,
)


def halve(program: Program) -> None:
    """Let a float32 program compute in float16, and hold its constants so."""
    for function in program.functions():
        for value in values_of(function):
            if _is_float32(value):
                _halve_constant(value)
        _halve_results(function)
    for number, array in program.arrays.items():
        if array.dtype == np.float32:
            program.arrays[number] = array.astype(np.float16)


def _is_float32(value: Any) -> bool:
    from coremltools.proto import MIL_pb2

    is_float32: bool = value.type.tensorType.dataType == MIL_pb2.FLOAT32
    return is_float32


def _halve_type(value: Any) -> None:
    from coremltools.proto import MIL_pb2

    value.type.tensorType.dataType = MIL_pb2.FLOAT16


def _halve_constant(value: Any) -> None:
    """Say float16 of a constant, and round it where it stands in the program itself, as bytes."""
    if value.HasField("immediateValue"):
        tensor = value.immediateValue.tensor
        tensor.bytes.values = np.array(tensor.floats.values, np.float16).tobytes()
    _halve_type(value)


def _halve_results(function: Any) -> None:
    """Say float16 of what operations give, and put casts before and after them."""
    operations = operations_of(function)
    leaving = function.block_specializations[function.opset].outputs
    results = [value for each in operations for value in each.outputs]
    inputs, outputs = list(function.inputs), [each for each in results if each.name in leaving]
    before = [step for value in inputs for step in _casts(value, is_entering=True)]
    after = [step for value in outputs for step in _casts(value, is_entering=False)]
    inside = {value.name: _inside(value.name) for value in (*inputs, *outputs)}
    for argument in (argument for each in operations for argument in each.inputs.values()):
        for binding in argument.arguments:
            if binding.name in inside:
                binding.name = inside[binding.name]
    for value in results:
        value.name = inside.get(value.name, value.name)
        if _is_float32(value):
            _halve_type(value)
    whole = [*before, *operations, *after]
    del operations[:]
    operations.extend(whole)


def _inside(name: str) -> str:
    """Return what the float16 of an input or output is called."""
    return f"{name}_half"


def _casts(value: Any, *, is_entering: bool) -> tuple[Any, Any]:
    """Return the operations between an input or output, float32, and what is computed with."""
    output = type(value)()
    output.CopyFrom(value)
    source = _inside(value.name)
    if is_entering:
        source, output.name = value.name, source
        _halve_type(output)
    dtype = constant(f"{output.name}_dtype", text("fp16" if is_entering else "fp32"))
    return dtype, operation("cast", output, x=source, dtype=dtype.outputs[0].name)

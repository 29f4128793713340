"""Is a Core ML package what was exported: its functions, operators and the size of its weights?"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from reefl_edge.bundles.artifacts import Precision
from reefl_edge.errors import ParityError
from reefl_edge.submodel import ArraySpec, Submodel, TensorSpec
from reefl_export.coreml.mil.operators import OPERATORS
from reefl_export.coreml.mil.package import WEIGHTS_PATH, load_spec
from reefl_export.coreml.narrow import PALETTE_CHANNELS
from reefl_export.coreml.precision import is_palettized, is_quantized

# The weights file begins with 64 bytes; before each array stand 64, and behind it up to 63, so that
# the next begins at a multiple of 64. Source: MILBlob's StorageFormat.hpp, coremltools 9.0.
_OVERHEAD_BYTES = 128
# Equal arrays are stored once, so a fresh network's biases, all zero, take no room: a share of the
# whole that grows as the weights get narrower.
_LEAST_SHARE = 0.8


def check_structure(path: Path, submodel: Submodel, precision: Precision) -> None:
    """Hold a package to what ``submodel`` says: functions, operators, and the size of its weights.

    Raises:
        ParityError: Something is off; everything that is, is listed.
    """
    spec = load_spec(path)
    problems = [
        *_signature_problems(spec.description, submodel),
        *_operator_problems(spec.mlProgram),
        *_weight_problems(path / WEIGHTS_PATH, submodel, precision),
    ]
    if problems:
        raise ParityError(f"{path.name} is not what was exported: {'; '.join(problems)}")


def _signature_problems(description: Any, submodel: Submodel) -> Iterator[str]:
    segments = submodel.segments()
    expected = {
        segment.name: _signature(map(_tensor, segment.inputs), map(_tensor, segment.outputs))
        for segment in segments
    }
    found = {
        function.name: _signature(map(_feature, function.input), map(_feature, function.output))
        for function in description.functions
    }
    for name in sorted(expected.keys() | found.keys()):
        if found.get(name) != expected.get(name):
            yield f"{name} should be {expected.get(name)}, but is {found.get(name)}"
    if description.defaultFunctionName != segments[0].name:
        yield f"the default function is {description.defaultFunctionName!r}"


def _signature(inputs: Iterable[str], outputs: Iterable[str]) -> str:
    return f"({', '.join(inputs)}) -> ({', '.join(outputs)})"


def _tensor(spec: TensorSpec) -> str:
    """Say what Core ML should have for a tensor of a segment."""
    shape = [1 if size == "batch" else size for size in spec.shape]
    if spec.dtype == "uint8":
        return f"{spec.name} RGB {shape[1:3]}"
    return f"{spec.name} FLOAT32 {shape}"


def _feature(feature: Any) -> str:
    """Say what Core ML has: a name, a colour space or dtype, a shape."""
    if feature.type.WhichOneof("Type") == "imageType":
        image = feature.type.imageType
        color_space = image.ColorSpace.Name(image.colorSpace)
        return f"{feature.name} {color_space} {[image.height, image.width]}"
    array = feature.type.multiArrayType
    return f"{feature.name} {array.ArrayDataType.Name(array.dataType)} {list(array.shape)}"


def _operator_problems(program: Any) -> Iterator[str]:
    for name, function in sorted(program.functions.items()):
        operations = function.block_specializations[function.opset].operations
        unknown = {operation.type for operation in operations} - OPERATORS.keys() - {"const"}
        if unknown:
            yield f"{name} uses {', '.join(sorted(unknown))}"


def _weight_problems(path: Path, submodel: Submodel, precision: Precision) -> Iterator[str]:
    """Compare the weights file with the arrays as the precision stores them, each of them once."""
    arrays = submodel.arrays()
    array_bytes = sum(_stored_bytes(array, precision) for array in arrays)
    # Each row of the depth embedding is stored as an array: one per block, and the meta token's.
    # Narrowed weights are two: integers and scales, indices and palettes.
    num_stored = 2 * len(arrays) + submodel.depth + 1
    size_bytes = path.stat().st_size
    if not _LEAST_SHARE * array_bytes <= size_bytes <= array_bytes + _OVERHEAD_BYTES * num_stored:
        yield f"its weights take {size_bytes} bytes, where its arrays have {array_bytes}"


def _stored_bytes(array: ArraySpec, precision: Precision) -> int:
    if precision == "fp32":
        return 4 * array.num_elements
    if precision == "int8-weights" and is_quantized(array):
        return array.num_elements + 2 * array.shape[0]  # and a scale per output
    if precision == "palette4" and is_palettized(array):
        num_palettes = array.shape[0] // PALETTE_CHANNELS
        return array.num_elements // 2 + 2 * 16 * num_palettes
    return 2 * array.num_elements

"""How do traced segments become one Core ML package: a function per segment, each weight once?

The package is a *multifunction* ML program (iOS 18, macOS 15 or newer); its functions bear the
names of the segments. Core ML runs on Apple's systems only: elsewhere the package is held to its
description (``check_structure``).

Core ML has no 8-bit arrays (coremltools would make the images int32, four times the bytes), but it
has images: segment 0 takes an RGB pixel buffer of the model's size, as a camera, a decoder or
Vision gives it, where the other formats take uint8 (B, H, W, 3). The program sees it as float32
(1, 3, H, W) from 0 to 255 and normalises it, like everywhere, inside segment 0.
"""

import tempfile
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.export import ExportedProgram

from reefl_edge.errors import MissingToolchainError, ParityError
from reefl_edge.files import write_bytes
from reefl_edge.submodel import Segment, Submodel, TensorSpec
from reefl_export.job import METADATA_KEY, ExportJob
from reefl_export.quiet import quiet, without_progress_bars
from reefl_export.segments import FORMS, trace_segments

PACKAGE_NAME = "model.mlpackage"

# Every operator of the ML programs made here, named as in Apple's MIL reference.
OPERATORS = frozenset(
    (
        *("add", "mul", "matmul", "linear", "conv", "layer_norm", "softmax", "gelu", "relu"),
        *("scaled_dot_product_attention", "const", "concat", "split", "slice_by_index"),
        *("reshape", "transpose"),
    )
)

# Where a package keeps its description and its weights.
_SPEC_PATH = "Data/com.apple.CoreML/model.mlmodel"
_WEIGHTS_PATH = "Data/com.apple.CoreML/weights/weight.bin"

# The weights file begins with 64 bytes; before each array stand 64, and behind it up to 63, so that
# the next begins at a multiple of 64. Source: MILBlob's StorageFormat.hpp, coremltools 9.0.
_OVERHEAD_BYTES = 128
# Equal arrays are stored once, so a fresh network's zero biases take no room (1.3% of ``digits``).
_LEAST_SHARE = 0.95

# coremltools imports torchao where it is installed, of which torch warns.
_quiet = partial(quiet, "coremltools", "torch.utils._pytree")


def export_coreml(job: ExportJob) -> None:
    """Write ``model.mlpackage`` with a function per segment.

    Raises:
        MissingToolchainError: coremltools is not installed, or this release of it lacks an
            operator of a program.
    """
    job.say("trace")
    write_package(job, trace_segments(job.network, batch_size=1, forms=FORMS["coreml"]))


def write_package(job: ExportJob, programs: dict[str, ExportedProgram]) -> None:
    """Write traced segments, by name, as the functions of a package; the programs stay as they are.

    Raises:
        MissingToolchainError: As ``export_coreml``.
    """
    ct = _coremltools()
    with tempfile.TemporaryDirectory() as scratch:
        parts = {}
        for segment in job.segments():
            job.say(f"convert {segment.name}")
            parts[segment.name] = Path(scratch, f"{segment.name}.mlpackage")
            _convert(ct, programs[segment.name], segment, parts[segment.name])
        _join(ct, parts, job.folder / PACKAGE_NAME)
    _describe(ct, job, job.folder / PACKAGE_NAME)
    check_structure(job.folder / PACKAGE_NAME, job.submodel)


def check_structure(path: Path, submodel: Submodel) -> None:
    """Hold a package to what ``submodel`` says: functions, operators and weights.

    Raises:
        ParityError: Something is off; everything that is, is listed.
    """
    spec = _coremltools().models.utils.load_spec(str(path))
    problems = [
        *_signature_problems(spec.description, submodel),
        *_operator_problems(spec.mlProgram),
        *_weight_problems(path / _WEIGHTS_PATH, submodel),
    ]
    if problems:
        raise ParityError(f"{path.name} is not what was exported: {'; '.join(problems)}")


@_quiet()
def _coremltools() -> Any:
    try:
        import coremltools
    except ImportError as error:
        raise MissingToolchainError.for_extra(
            "exporting to Core ML", "coremltools", "coreml"
        ) from error
    return coremltools


@_quiet()
def _convert(ct: Any, program: ExportedProgram, segment: Segment, path: Path) -> None:
    """Write one segment as a package of its own."""
    # With no decompositions, linear layers and norms stay whole, as Core ML has them.
    program = program.run_decompositions({})
    if segment.exit_index == 0:
        _feed_image(program)
    try:
        with without_progress_bars():
            ct.convert(
                program,
                inputs=[_input_type(ct, spec) for spec in segment.inputs],
                outputs=[ct.TensorType(name=spec.name) for spec in segment.outputs],
                minimum_deployment_target=ct.target.iOS18,
                compute_precision=ct.precision.FLOAT32,
                pass_pipeline=_passes(ct),
                package_dir=str(path),
                skip_model_load=True,
            )
    except NotImplementedError as error:
        raise MissingToolchainError(
            f"coremltools {ct.__version__} cannot convert {segment.name}: {error}; "
            "install the releases that 'reefl-edge[coreml]' asks for"
        ) from error


def _passes(ct: Any) -> Any:
    """Return coremltools' passes but one, which would shift the pixels a little.

    It makes their normalisation a batch norm and forgets its epsilon of 1e-5: pixels lose 5e-6 of
    their value, and logits differ from the network's by ten times as much (coremltools 9.0).
    """
    passes = ct.PassPipeline()
    passes.remove_passes({"common::fuse_elementwise_to_batchnorm"})
    return passes


def _feed_image(program: ExportedProgram) -> None:
    """Let a program read an image as Core ML gives it instead of uint8 (1, H, W, 3)."""
    graph = program.graph
    (name,) = program.graph_signature.user_inputs
    (images,) = (node for node in graph.find_nodes(op="placeholder") if node.name == name)
    aten = torch.ops.aten
    (cast,) = graph.find_nodes(op="call_function", target=aten._to_copy.default)
    with graph.inserting_before(cast):
        pixels = graph.call_function(aten.permute.default, (images, [0, 2, 3, 1]))
    cast.replace_all_uses_with(pixels)
    images.meta["val"] = cast.meta["val"].permute(0, 3, 1, 2).contiguous()
    for node in set(images.users) - {pixels}:  # the cast, and an assertion of the dtype
        graph.erase_node(node)


def _input_type(ct: Any, spec: TensorSpec) -> Any:
    if spec.dtype == "uint8":
        return ct.ImageType(name=spec.name, color_layout=ct.colorlayout.RGB)
    return ct.TensorType(name=spec.name)


@_quiet()
def _join(ct: Any, parts: dict[str, Path], path: Path) -> None:
    """Write packages as the functions of one, which share equal weights."""
    joined = ct.utils.MultiFunctionDescriptor()
    for name, part in parts.items():
        joined.add_function(str(part), src_function_name="main", target_function_name=name)
    joined.default_function_name = next(iter(parts))
    with without_progress_bars():
        ct.utils.save_multifunction(joined, str(path))
    (path / _WEIGHTS_PATH).parent.chmod(0o755)  # coremltools lets only its owner in


def _describe(ct: Any, job: ExportJob, path: Path) -> None:
    """Say in a package's metadata what it is."""
    spec = ct.models.utils.load_spec(str(path))
    metadata = spec.description.metadata
    submodel = job.submodel
    metadata.shortDescription = (
        f"ReeFL, {submodel.num_exits} exits over {submodel.depth} blocks: a function per segment"
    )
    metadata.userDefined[METADATA_KEY] = job.facts
    write_bytes(path / _SPEC_PATH, spec.SerializeToString())


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
        unknown = {operation.type for operation in operations} - OPERATORS
        if unknown:
            yield f"{name} uses {', '.join(sorted(unknown))}"


def _weight_problems(path: Path, submodel: Submodel) -> Iterator[str]:
    """Compare the weights file with the float32 arrays, each of them stored once."""
    arrays = submodel.arrays()
    array_bytes = sum(4 * spec.num_elements for spec in arrays)
    # Each row of the depth embedding is stored as an array: one per block, and the meta token's.
    num_stored = len(arrays) + submodel.depth + 1
    size_bytes = path.stat().st_size
    if not _LEAST_SHARE * array_bytes <= size_bytes <= array_bytes + _OVERHEAD_BYTES * num_stored:
        yield f"its weights take {size_bytes} bytes, where its arrays have {array_bytes}"

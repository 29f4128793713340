"""How do traced segments become one Core ML package: a function per segment, each weight once?

The package is a *multifunction* ML program (iOS 18, macOS 15 or newer); its functions bear the
names of the segments. Core ML runs on Apple's systems only: the package is held to its description
(``structure``), and run by an interpreter of our own (``mil``).

Core ML has no 8-bit arrays (coremltools would make the images int32, four times the bytes), but it
has images: segment 0 takes an RGB pixel buffer of the model's size, as a camera, a decoder or
Vision gives it, where the other formats take uint8 (B, H, W, 3). The program sees it as float32
(1, 3, H, W) from 0 to 255 and normalises it, like everywhere, inside segment 0.
"""

import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.export import ExportedProgram

from reefl_edge.bundles.facts import METADATA_KEY
from reefl_edge.submodel import Segment, TensorSpec
from reefl_export.conversion import Conversion
from reefl_export.coreml.mil.package import load_coremltools, quiet_coremltools
from reefl_export.coreml.precision import in_precision
from reefl_export.coreml.program import Program, joined, write_program
from reefl_export.coreml.structure import check_structure
from reefl_export.quiet import without_progress_bars
from reefl_export.refused import naming_refused
from reefl_export.segments import FORMS, trace_segments

PACKAGE_NAME = "model.mlpackage"

_OLDEST_TARGET = "iOS18"

# Those of coremltools' passes that change a program of ours, in their order; it would hold the
# program to its rules after each of ninety. Left out on purpose: ``fuse_elementwise_to_batchnorm``
# makes the normalisation of the pixels a batch norm and forgets its epsilon of 1e-5. Pixels lose
# 5e-6 of their value, and logits differ from the network's by ten times as much (coremltools 9.0).
_PASSES = (
    "common::cast_optimization",
    "common::noop_elimination",
    "common::const_elimination",
    "common::const_deduplication",
    "common::reduce_transposes",
    "common::dedup_op_and_var_names",
    "common::topological_reorder",
    "common::dead_code_elimination",
)


def export_coreml(conversion: Conversion) -> None:
    """Write ``model.mlpackage`` with a function per segment.

    Raises:
        MissingToolchainError: coremltools is not installed, or this release of it lacks an
            operator of a program.
        ParityError: The package is not what the sub-model says.
        ValueError: Core ML packages do not come in the recipe's precision.
    """

    def trace() -> dict[str, ExportedProgram]:
        conversion.say("trace")
        return trace_segments(conversion.network, batch_size=1, forms=FORMS["coreml"])

    write_package(conversion, conversion.shared.once("Core ML: traced", trace))


@quiet_coremltools()
def write_package(conversion: Conversion, programs: dict[str, ExportedProgram]) -> None:
    """Write traced segments, by name, as the functions of a package; the programs stay as they are.

    Raises: as ``export_coreml``.
    """
    ct = load_coremltools()
    target = conversion.recipe.deployment_target or _OLDEST_TARGET
    float32 = conversion.shared.once(
        f"Core ML: float32 for {target}", partial(_converted, ct, target, conversion, programs)
    )
    program = in_precision(float32, conversion.recipe.precision)
    _describe(conversion, program.model.description.metadata)
    path = conversion.folder / PACKAGE_NAME
    write_program(program, path)
    check_structure(path, conversion.submodel, conversion.recipe.precision)


def _converted(
    ct: Any, target: str, conversion: Conversion, programs: dict[str, ExportedProgram]
) -> Program:
    """Return the float32 program that every precision starts from."""
    with tempfile.TemporaryDirectory() as scratch:
        parts = {}
        for segment in conversion.segments():
            conversion.say(f"convert {segment.name}")
            parts[segment.name] = Path(scratch, f"{segment.name}.mlpackage")
            program = programs[segment.name]
            refused = naming_refused(
                conversion.recipe, {segment.name: program}, NotImplementedError
            )
            with refused, without_progress_bars():
                ct.convert(
                    _prepared(program, segment),
                    inputs=[_input_type(ct, spec) for spec in segment.inputs],
                    outputs=[_tensor_type(ct, spec) for spec in segment.outputs],
                    minimum_deployment_target=ct.target[target],
                    compute_precision=ct.precision.FLOAT32,
                    pass_pipeline=ct.PassPipeline(list(_PASSES), "segment"),
                    package_dir=str(parts[segment.name]),
                    skip_model_load=True,
                )
        return joined(parts, conversion.checkpoint.arrays.values())


def _prepared(program: ExportedProgram, segment: Segment) -> ExportedProgram:
    """Return a traced segment as coremltools takes it, the same for every precision."""
    # With no decompositions, linear layers and norms stay whole, as Core ML has them.
    program = program.run_decompositions({})
    if segment.exit_index == 0:
        _feed_image(program)
    return program


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
    return _tensor_type(ct, spec)


def _tensor_type(ct: Any, spec: TensorSpec) -> Any:
    return ct.TensorType(name=spec.name, dtype=np.float32)


def _describe(conversion: Conversion, metadata: Any) -> None:
    """Say in a package's metadata what it is."""
    submodel = conversion.submodel
    metadata.shortDescription = (
        f"ReeFL, {submodel.num_exits} exits over {submodel.depth} blocks: a function per segment"
    )
    metadata.userDefined[METADATA_KEY] = conversion.facts

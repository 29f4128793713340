"""How do traced segments become one Core ML package: a function per segment, each weight once?

The package is a *multifunction* ML program (iOS 18, macOS 15 or newer); its functions bear the
names of the segments. Core ML runs on Apple's systems only: the package is held to its description
(``coreml_structure``), and run by an interpreter of our own (``mil``).

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
from reefl_edge.files import write_bytes
from reefl_edge.submodel import Segment, TensorSpec
from reefl_export.conversion import Conversion
from reefl_export.coreml.mil.package import (
    SPEC_PATH,
    WEIGHTS_PATH,
    load_coremltools,
    load_spec,
    quiet_coremltools,
)
from reefl_export.coreml.precision import compute_precision, passes_for, repeatable
from reefl_export.coreml.structure import check_structure
from reefl_export.quiet import without_progress_bars
from reefl_export.recipe import ExportRecipe
from reefl_export.refused import naming_refused
from reefl_export.segments import FORMS, trace_segments

PACKAGE_NAME = "model.mlpackage"


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


def write_package(conversion: Conversion, programs: dict[str, ExportedProgram]) -> None:
    """Write traced segments, by name, as the functions of a package; the programs stay as they are.

    Raises: as ``export_coreml``.
    """
    ct = load_coremltools()
    with tempfile.TemporaryDirectory() as scratch:
        parts = {}
        for segment in conversion.segments():
            conversion.say(f"convert {segment.name}")
            parts[segment.name] = Path(scratch, f"{segment.name}.mlpackage")
            program = conversion.shared.once(
                f"Core ML: {segment.name}", partial(_prepared, programs[segment.name], segment)
            )
            _convert(ct, conversion.recipe, program, segment, parts[segment.name])
        _join(ct, parts, conversion.folder / PACKAGE_NAME)
    _describe(conversion, conversion.folder / PACKAGE_NAME)
    check_structure(
        conversion.folder / PACKAGE_NAME, conversion.submodel, conversion.recipe.precision
    )


@quiet_coremltools()
def _convert(
    ct: Any, recipe: ExportRecipe, program: ExportedProgram, segment: Segment, path: Path
) -> None:
    """Write one segment as a package of its own."""
    refused = naming_refused(recipe, {segment.name: program}, NotImplementedError)
    with refused, without_progress_bars(), repeatable(recipe.precision):
        ct.convert(
            program,
            inputs=[_input_type(ct, spec) for spec in segment.inputs],
            outputs=[_tensor_type(ct, spec) for spec in segment.outputs],
            minimum_deployment_target=ct.target[recipe.deployment_target or "iOS18"],
            compute_precision=compute_precision(ct, recipe.precision),
            pass_pipeline=passes_for(ct, recipe.precision),
            package_dir=str(path),
            skip_model_load=True,
        )


@quiet_coremltools()
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


@quiet_coremltools()
def _join(ct: Any, parts: dict[str, Path], path: Path) -> None:
    """Write packages as the functions of one, which share equal weights."""
    joined = ct.utils.MultiFunctionDescriptor()
    for name, part in parts.items():
        joined.add_function(str(part), src_function_name="main", target_function_name=name)
    joined.default_function_name = next(iter(parts))
    with without_progress_bars():
        ct.utils.save_multifunction(joined, str(path))
    # coremltools lets only its owner in.
    (path / WEIGHTS_PATH).parent.chmod(0o755)
    (path / SPEC_PATH).chmod(0o644)


def _describe(conversion: Conversion, path: Path) -> None:
    """Say in a package's metadata what it is."""
    spec = load_spec(path)
    metadata = spec.description.metadata
    submodel = conversion.submodel
    metadata.shortDescription = (
        f"ReeFL, {submodel.num_exits} exits over {submodel.depth} blocks: a function per segment"
    )
    metadata.userDefined[METADATA_KEY] = conversion.facts
    write_bytes(path / SPEC_PATH, spec.SerializeToString())

"""How do traced segments become ONNX: one graph per segment, one file of weights for all?"""

from typing import assert_never

import onnx_ir
import torch
from torch.export import ExportedProgram

from reefl_edge.bundles.facts import METADATA_KEY
from reefl_edge.checkpoints.checkpoint import WEIGHTS_NAME, write_checkpoint
from reefl_edge.submodel import Segment
from reefl_export.conversion import Conversion
from reefl_export.onnx.adaptive import write_adaptive_graph
from reefl_export.onnx.half import halve
from reefl_export.onnx.int8 import quantise_dynamic, quantise_static
from reefl_export.onnx.ranges import input_ranges
from reefl_export.onnx.weights import name_as_arrays, point_at_weights, write_weights
from reefl_export.quiet import quiet
from reefl_export.refused import naming_refused
from reefl_export.segments import FORMS, trace_segments

# Opset 20 has Gelu; onnxruntime 1.20 reads IR versions up to 10.
OPSET_VERSION = 20
MAX_IR_VERSION = 10


def export_onnx(conversion: Conversion) -> None:
    """Write ``segment_K.onnx`` for every segment, and the weights they share.

    Raises:
        ValueError: ONNX does not come in the recipe's precision, or there are no calibration images
            where it needs them.
        MissingToolchainError: An operator of the network has no translation.
    """
    if conversion.recipe.needs_calibration and conversion.calibration is None:
        raise ValueError(f"{conversion.recipe.title} needs calibration images")
    conversion.say("trace")
    programs = trace_segments(conversion.network, batch_size=None, forms=FORMS["onnx"])
    models = {}
    for segment in conversion.segments():
        conversion.say(f"convert {segment.name}")
        program = programs[segment.name]
        with naming_refused(
            conversion.recipe, {segment.name: program}, torch.onnx.OnnxExporterError
        ):
            model = _convert(program, segment)
        _strip_traces(model)
        name_as_arrays(model)
        model.metadata_props[METADATA_KEY] = conversion.facts
        models[segment.name] = model
    _narrow(list(models.values()), conversion)
    weights_path = conversion.folder / WEIGHTS_NAME
    if conversion.recipe.precision == "fp32":
        write_checkpoint(conversion.checkpoint, weights_path)
    else:
        write_weights(models.values(), conversion.checkpoint.arrays, weights_path)
    for name, model in models.items():
        point_at_weights(model, weights_path)
        onnx_ir.save(model, conversion.folder / f"{name}.onnx")
    if conversion.recipe.adaptive_graph:
        write_adaptive_graph(conversion.folder, conversion.segments())


def _narrow(models: list[onnx_ir.Model], conversion: Conversion) -> None:
    """Bring the float32 graphs of a chain to the recipe's precision."""
    match conversion.recipe.precision:
        case "fp32":
            return
        case "int8-dynamic":
            conversion.say("quantise")
            for model in models:
                quantise_dynamic(model, conversion.recipe.keep_float)
        case "int8-static":
            assert conversion.calibration is not None  # as checked
            conversion.say("calibrate")
            ranges = input_ranges(
                models,
                conversion.calibration,
                conversion.recipe.keep_float,
                threads=conversion.threads,
            )
            for model in models:
                quantise_static(model, conversion.recipe.keep_float, ranges)
        case "fp16":
            for model in models:
                halve(model)
        case "int8-weights" | "palette4":
            raise ValueError(f"ONNX does not come in {conversion.recipe.precision}")
        case _:
            assert_never(conversion.recipe.precision)


@quiet("torch.onnx")
def _convert(program: ExportedProgram, segment: Segment) -> onnx_ir.Model:
    converted = torch.onnx.export(
        program,
        dynamo=True,
        opset_version=OPSET_VERSION,
        input_names=[spec.name for spec in segment.inputs],
        output_names=[spec.name for spec in segment.outputs],
        verbose=False,
    )
    assert converted is not None  # it is, with dynamo
    model = converted.model
    model.ir_version = min(model.ir_version, MAX_IR_VERSION)
    # The tracer names the batch axis after itself, and leaves computed axes open.
    for value, spec in zip(
        (*model.graph.inputs, *model.graph.outputs),
        (*segment.inputs, *segment.outputs),
        strict=True,
    ):
        value.shape = onnx_ir.Shape(list(spec.shape))
    return model


def _strip_traces(model: onnx_ir.Model) -> None:
    """Drop the Python stack traces kept for every node: they outweigh the graph."""
    for node in model.graph.all_nodes():
        node.metadata_props.clear()
        node.doc_string = None

"""How do traced segments become ONNX: one graph per segment, one file of weights for all?

The weights file is a checkpoint: ONNX lets an initialiser point at a range of bytes in another
file, so the graphs read the safetensors file that the eager runtime and the trainer read too.
"""

from pathlib import Path

import onnx_ir
import torch
from torch.export import ExportedProgram

from reefl_edge.submodel import Segment
from reefl_edge.weights import WEIGHTS_NAME, data_ranges, write_checkpoint
from reefl_export.job import METADATA_KEY, ExportJob
from reefl_export.quiet import quiet
from reefl_export.segments import FORMS, trace_segments

# Opset 20 has Gelu; onnxruntime 1.20 reads IR versions up to 10.
OPSET_VERSION = 20
MAX_IR_VERSION = 10

# What the segment view puts before every array's name.
_VIEW_PREFIX = "network."


def export_onnx(job: ExportJob) -> None:
    """Write ``segment_K.onnx`` for every segment, and the weights they share."""
    job.say("trace")
    programs = trace_segments(job.network, batch_size=None, forms=FORMS["onnx"])
    weights_path = job.folder / WEIGHTS_NAME
    write_checkpoint(job.checkpoint, weights_path)
    for segment in job.segments():
        job.say(f"convert {segment.name}")
        model = _convert(programs[segment.name], segment)
        _strip_traces(model)
        model.metadata_props[METADATA_KEY] = job.facts
        _point_at_weights(model, weights_path)
        onnx_ir.save(model, job.folder / f"{segment.name}.onnx")


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


def _point_at_weights(model: onnx_ir.Model, weights_path: Path) -> None:
    """Let every initialiser that is an array of the checkpoint read it from the shared file."""
    ranges = data_ranges(weights_path)
    for name, value in list(model.graph.initializers.items()):
        array_name = name.removeprefix(_VIEW_PREFIX)
        if array_name not in ranges:
            continue
        offset, length = ranges[array_name]
        tensor = value.const_value
        assert tensor is not None  # initialisers have values
        value.name = array_name
        value.const_value = onnx_ir.ExternalTensor(
            location=weights_path.name,
            offset=offset,
            length=length,
            dtype=tensor.dtype,
            shape=onnx_ir.Shape(tensor.shape.numpy()),
            name=array_name,
            base_dir=weights_path.parent,
        )

"""How does a network in one graph become ONNX: by PyTorch's exporter alone, traced as a whole?"""

import onnx_ir
import torch
from torch.export import Dim

from reefl_edge.bundles.facts import METADATA_KEY
from reefl_export.conversion import Conversion
from reefl_export.onnx.assembly import IR_VERSION, OPSET_VERSION
from reefl_export.quiet import quiet
from reefl_export.segments import FORMS, SegmentView, example_input, trace

_WEIGHTS_NAME = "weights.bin"


@quiet("torch.onnx")
def export_as_one_graph(conversion: Conversion) -> None:
    """Write the only segment of a network, and its weights beside it."""
    (segment,) = conversion.segments()
    # Tracing with a batch of one would fix it at one.
    inputs = tuple(example_input(spec, 2) for spec in segment.inputs)
    batch = Dim("batch", min=1)
    program = trace(
        SegmentView(conversion.network, segment),
        inputs,
        forms=FORMS["onnx"],
        dynamic_shapes=(tuple({0: batch} for _ in inputs),),
    )
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
    model.ir_version = min(model.ir_version, IR_VERSION)
    values, specs = (*model.graph.inputs, *model.graph.outputs), (*segment.inputs, *segment.outputs)
    for value, spec in zip(values, specs, strict=True):
        value.shape = onnx_ir.Shape(list(spec.shape))
    model.metadata_props[METADATA_KEY] = conversion.facts
    path = conversion.folder / f"{segment.name}.onnx"
    onnx_ir.save(model, path, external_data=_WEIGHTS_NAME)

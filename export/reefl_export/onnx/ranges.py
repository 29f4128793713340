"""Between which values do the inputs of linear layers lie, on typical images?"""

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir
from numpy.typing import NDArray

from reefl_edge.runtimes.base import Tensors
from reefl_edge.runtimes.onnx import open_session
from reefl_export.onnx.int8 import layer_of, linear_nodes, name_of

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

Range = tuple[float, float]


def input_ranges(
    models: Sequence[onnx_ir.Model],
    images: NDArray[np.uint8],
    keep_float: Sequence[str],
    *,
    threads: int,
) -> dict[str, Range]:
    """Run a float32 chain and watch its linear layers.

    The range of a layer is the mean over images of the smallest and of the largest value: a rare
    outlier is cut off rather than paid for by all. A layer that several places use has the widest
    of their ranges.

    Args:
        models: The graphs of the segments, in order.
        images: Typical images, uint8 (N, H, W, 3).
        keep_float: Layers not asked for; see ``ExportRecipe.keep_float``.
        threads: Threads to run it with.

    Returns:
        The range of each layer, by its name.
    """
    found: dict[str, list[Range]] = defaultdict(list)
    carried: list[Tensors] = [(image[None],) for image in images]
    for model in models:
        layers = {
            name_of(node.inputs[0]): layer_of(node) for node in linear_nodes(model, keep_float)
        }
        num_outputs = len(model.graph.outputs)
        session = _session(model, watched=list(layers), threads=threads)
        extremes = []
        for index, inputs in enumerate(carried):
            outputs = _run(session, inputs)
            carried[index] = outputs[: num_outputs - 1]  # the logits come last
            extremes.append([(rows.min(), rows.max()) for rows in outputs[num_outputs:]])
        for layer, (low, high) in zip(layers.values(), np.mean(extremes, axis=0), strict=True):
            found[layer].append((float(low), float(high)))
    return {
        layer: (min(low for low, _ in ranges), max(high for _, high in ranges))
        for layer, ranges in found.items()
    }


def _session(model: onnx_ir.Model, *, watched: list[str], threads: int) -> "InferenceSession":
    """Load a graph that also gives the watched values, after its own outputs."""
    values = {value.name: value for node in model.graph for value in node.outputs}
    num_outputs = len(model.graph.outputs)
    model.graph.outputs.extend(values[name] for name in watched)
    content = onnx_ir.to_proto(model).SerializeToString()
    del model.graph.outputs[num_outputs:]
    return open_session(content, threads=threads)


def _run(session: "InferenceSession", inputs: Tensors) -> Tensors:
    names = [value.name for value in session.get_inputs()]
    return tuple(session.run(None, dict(zip(names, inputs, strict=True))))

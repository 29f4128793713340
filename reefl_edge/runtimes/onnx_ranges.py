"""Between which values do the inputs of linear layers lie, on typical images?"""

from collections import defaultdict
from collections.abc import Collection, Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from onnxruntime import InferenceSession

from reefl_edge.partials import partial_file
from reefl_edge.runtimes.base import Tensors
from reefl_edge.runtimes.onnx import open_session
from reefl_edge.runtimes.onnx_edit import linear_inputs, with_outputs

Range = tuple[float, float]


def input_ranges(
    graphs: Iterable[Path],
    images: NDArray[np.uint8],
    layers: Collection[str],
    *,
    threads: int,
) -> dict[str, Range]:
    """Run a float32 chain and watch its linear layers.

    The range of a layer is the mean over images of the smallest and of the largest value: a rare
    outlier is cut off rather than paid for by all. A layer that several places use has the widest
    of their ranges.

    Args:
        graphs: The graphs of the segments, in order.
        images: Typical images, uint8 (N, H, W, 3).
        layers: Those asked for.
        threads: Threads to run it with.

    Returns:
        The range of each layer, by its name.
    """
    found: dict[str, list[Range]] = defaultdict(list)
    carried: list[Tensors] = [(image[None],) for image in images]
    for graph in graphs:
        content = graph.read_bytes()
        readers = linear_inputs(content)
        watched = {
            rows: asked
            for rows, names in readers.items()
            if (asked := [name for name in names if name in layers])
        }
        session = _session(graph, with_outputs(content, watched), threads=threads)
        num_outputs = len(session.get_outputs()) - len(watched)
        extremes = []
        for index, inputs in enumerate(carried):
            outputs = _run(session, inputs)
            carried[index] = outputs[: num_outputs - 1]  # the logits come last
            extremes.append([(rows.min(), rows.max()) for rows in outputs[num_outputs:]])
        for names, (low, high) in zip(watched.values(), np.mean(extremes, axis=0), strict=True):
            for layer in names:
                found[layer].append((float(low), float(high)))
    return {
        layer: (min(low for low, _ in ranges), max(high for _, high in ranges))
        for layer, ranges in found.items()
    }


def _session(graph: Path, content: bytes, *, threads: int) -> InferenceSession:
    """Load what was made of a graph beside it, where the weights are that it reads."""
    with partial_file(graph) as changed:
        changed.write_bytes(content)
        return open_session(changed, threads=threads)


def _run(session: InferenceSession, inputs: Tensors) -> Tensors:
    names = [value.name for value in session.get_inputs()]
    return tuple(session.run(None, dict(zip(names, inputs, strict=True))))

"""How do the graphs of all segments share one file of weights?

ONNX lets an initialiser point at a range of bytes in another file. That file is safetensors, so
that anybody can read the weights by their names; in float32 it is a checkpoint, which the eager
runtime and the trainer read too.

A *weight* is an initialiser named after an array of the checkpoint, or after one made from it
(``NAME_int8``, ``NAME_scale``: ``narrowing.py``); all others are small constants of one graph, and
stay inside it.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnx_ir
from numpy.typing import NDArray

from reefl_edge.array_files.safetensors import data_ranges, write_safetensors
from reefl_edge.narrowing import origin_of


def write_weights(models: Iterable[onnx_ir.Model], names: Iterable[str], path: Path) -> None:
    """Write the weights of graphs, each once; the same graphs give the same file.

    Args:
        models: The graphs.
        names: Names of the checkpoint's arrays.
        path: Where to.
    """
    known = set(names)
    arrays: dict[str, NDArray[np.generic]] = {}
    for model in models:
        for name, value in model.graph.initializers.items():
            if name not in arrays and origin_of(name, known) is not None:
                assert value.const_value is not None  # initialisers have values
                arrays[name] = value.const_value.numpy()
    write_safetensors(arrays, path)


def point_at_weights(model: onnx_ir.Model, path: Path, *, root: Path | None = None) -> None:
    """Let every initialiser that is in the shared file read it from there.

    Args:
        model: The graph.
        path: The file.
        root: Where the graph will lie, above the file; None for beside it.
    """
    root = root or path.parent
    ranges = data_ranges(path)
    for name, value in model.graph.initializers.items():
        if name not in ranges:
            continue
        offset, length = ranges[name]
        tensor = value.const_value
        assert tensor is not None  # initialisers have values
        value.const_value = onnx_ir.ExternalTensor(
            location=path.relative_to(root).as_posix(),
            offset=offset,
            length=length,
            dtype=tensor.dtype,
            shape=onnx_ir.Shape(tensor.shape.numpy()),
            name=name,
            base_dir=root,
        )

"""How do traced segments become ONNX: one graph per segment, one file of weights for all?"""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import assert_never

import onnx_ir
import torch

from reefl_edge.bundles.facts import METADATA_KEY
from reefl_edge.checkpoints.checkpoint import WEIGHTS_NAME, write_checkpoint
from reefl_edge.runtimes.onnx_ranges import input_ranges
from reefl_export.conversion import Conversion
from reefl_export.garbage import own_garbage
from reefl_export.onnx.adaptive import write_adaptive_graph
from reefl_export.onnx.assembly import assemble, templates_of
from reefl_export.onnx.half import halve
from reefl_export.onnx.int8 import (
    layer_of,
    linear_nodes,
    quantise_dynamic,
    quantise_static,
)
from reefl_export.onnx.parts import trace_kinds
from reefl_export.onnx.weights import point_at_weights, write_weights
from reefl_export.refused import naming_refused


@own_garbage()
def export_onnx(conversion: Conversion) -> None:
    """Write ``segment_K.onnx`` for every segment, and the weights they share.

    Raises:
        ValueError: ONNX does not come in the recipe's precision, or there are no calibration images
            where it needs them.
        MissingToolchainError: An operator of the network has no translation.
    """
    if conversion.recipe.needs_calibration and conversion.calibration is None:
        raise ValueError(f"{conversion.recipe.title} needs calibration images")
    weights_path = conversion.folder / WEIGHTS_NAME
    if conversion.recipe.precision == "fp32":
        # Known beforehand, so the disk is busy while the network is traced.
        with ThreadPoolExecutor(max_workers=1) as beside:
            written = beside.submit(write_checkpoint, conversion.checkpoint, weights_path)
            models = _graphs(conversion)
            written.result()
    else:
        models = _graphs(conversion)
        write_weights(models.values(), conversion.checkpoint.arrays, weights_path)
    _save(models, weights_path)
    if conversion.recipe.adaptive_graph:
        write_adaptive_graph(conversion.folder, conversion.segments())


def _save(models: Mapping[str, onnx_ir.Model], weights_path: Path) -> list[Path]:
    """Write graphs, which it changes, beside the weights they read; return where they are."""
    paths = []
    for name, model in models.items():
        point_at_weights(model, weights_path)
        paths.append(weights_path.parent / f"{name}.onnx")
        onnx_ir.save(model, paths[-1])
    return paths


def _graphs(conversion: Conversion) -> dict[str, onnx_ir.Model]:
    """Return the graph of every segment in the recipe's precision, by its name."""
    models = {name: model.clone() for name, model in _float32_graphs(conversion).items()}
    for model in models.values():
        model.metadata_props[METADATA_KEY] = conversion.facts
    _narrow(models, conversion)
    return models


def _float32_graphs(conversion: Conversion) -> dict[str, onnx_ir.Model]:
    """Return the graph of every segment, by its name: the same ones for every precision."""

    def make() -> dict[str, onnx_ir.Model]:
        conversion.say("trace")
        kinds, program = trace_kinds(conversion.network)
        conversion.say("convert")
        refused = naming_refused(
            conversion.recipe, {"all segments": program}, torch.onnx.OnnxExporterError
        )
        with refused:
            templates = templates_of(kinds, program)
        return {
            segment.name: assemble(
                conversion.network, segment, templates, conversion.checkpoint.arrays
            )
            for segment in conversion.segments()
        }

    return conversion.shared.once("float32 graphs", make)


def _narrow(graphs: Mapping[str, onnx_ir.Model], conversion: Conversion) -> None:
    """Bring the float32 graphs of a chain to the recipe's precision."""
    models = graphs.values()
    match conversion.recipe.precision:
        case "fp32":
            return
        case "int8-dynamic":
            conversion.say("quantise")
            for model in models:
                quantise_dynamic(model, conversion.recipe.keep_float)
        case "int8-static":
            conversion.say("calibrate")
            ranges = _input_ranges(graphs, conversion)
            for model in models:
                quantise_static(model, conversion.recipe.keep_float, ranges)
        case "fp16":
            for model in models:
                halve(model)
        case "int8-weights" | "palette4":
            raise ValueError(f"ONNX does not come in {conversion.recipe.precision}")
        case _:
            assert_never(conversion.recipe.precision)


def _input_ranges(
    graphs: Mapping[str, onnx_ir.Model], conversion: Conversion
) -> dict[str, tuple[float, float]]:
    """Run float32 graphs from files, out of which onnxruntime maps weights instead of copying."""
    assert conversion.calibration is not None  # as checked
    keep_float = conversion.recipe.keep_float
    layers = {
        layer_of(node) for model in graphs.values() for node in linear_nodes(model, keep_float)
    }
    with TemporaryDirectory() as scratch:
        weights_path = Path(scratch, WEIGHTS_NAME)
        write_weights(graphs.values(), conversion.checkpoint.arrays, weights_path)
        paths = _save({name: model.clone() for name, model in graphs.items()}, weights_path)
        return input_ranges(paths, conversion.calibration, layers, threads=conversion.threads)

"""How do the benchmarks of exports get what they measure: exported once, then from the cache?

Weights are random, the same ones in every process: they change no time and no size. The cache knows
nothing of the exporters' code: give ``REEFL_EDGE_HOME`` another folder after changing that.

A *rival* is what segments are compared with: a network in one graph (``one_graph.py``), or the same
segments in ExecuTorch's own lowering (``stock_lowering.py``).
"""

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from benchmarks.apparatus.measured import Runnable, measured_submodel
from benchmarks.apparatus.one_graph import GraphKind, as_one_graph, seen_from_outside
from benchmarks.apparatus.onnx_by_pytorch import export_as_one_graph
from benchmarks.apparatus.stock_lowering import lower_in_the_stock_way
from reefl_edge import schema
from reefl_edge.bundles.artifacts import Artifact, BundleFile, Precision
from reefl_edge.bundles.bundle import Bundle
from reefl_edge.bundles.facts import facts_of
from reefl_edge.bundles.manifest import MANIFEST_NAME, Manifest, signatures
from reefl_edge.checkpoints.checkpoint import Checkpoint
from reefl_edge.checkpoints.hashes import weights_sha256
from reefl_edge.files import write_text
from reefl_edge.jobs.workloads import random_images
from reefl_edge.models.arrays import arrays_of, random_network
from reefl_edge.models.reefl import ReeFL
from reefl_edge.names import numbered_names
from reefl_edge.submodel import Submodel
from reefl_export import cache
from reefl_export.bundle import ExportImages, Origin, export_checkpoint
from reefl_export.conversion import Conversion
from reefl_export.executorch.exporter import export_executorch
from reefl_export.images import NamedImages
from reefl_export.onnx.exporter import export_onnx
from reefl_export.parity.gate import Gate
from reefl_export.recipe import ExportRecipe, stock

Rival = GraphKind | Literal["stock"]
Convert = Callable[[Conversion], None]

# The precisions whose times are compared with fp32.
INT8: tuple[Precision, ...] = ("int8-dynamic", "int8-static")

_NUM_CALIBRATION_IMAGES = 16


def say(stage: str) -> None:
    """Tell what takes the time."""
    print(f"  {stage}", file=sys.stderr, flush=True)


def measured_network(*, is_quick: bool) -> ReeFL:
    """Return the network of ``measured_submodel`` with random weights."""
    return random_network(measured_submodel(is_quick=is_quick), seed=0)


def checkpoint_of(network: ReeFL) -> Checkpoint:
    """Return a network's arrays."""
    return Checkpoint(submodel=network.submodel, arrays=arrays_of(network))


def recipes_for(runtimes: Sequence[Runnable]) -> list[ExportRecipe]:
    """Return the recipes of everything that is measured on some runtimes."""
    return stock(runtimes, ("fp32", *INT8))


def smooth_noise(submodel: Submodel) -> NamedImages:
    """Return images to calibrate on where only time counts."""
    images = random_images(_NUM_CALIBRATION_IMAGES, submodel.architecture.image_size)
    return NamedImages(name="smooth noise", pixels=images)


def bundle_of(
    network: ReeFL,
    recipes: Sequence[ExportRecipe],
    folder: Path,
    *,
    on_stage: Callable[[str], None] = say,
    on_artifact: Callable[[int, int], None] = lambda _done, _total: None,
) -> Bundle:
    """Export a network as the command line does; how far other precisions are off is not asked."""
    ungated = [
        recipe if recipe.precision == "fp32" else replace(recipe, gate=Gate()) for recipe in recipes
    ]
    return export_checkpoint(
        checkpoint_of(network),
        folder,
        ungated,
        Origin(name="benchmark"),
        images=ExportImages(calibration=smooth_noise(network.submodel)),
        on_stage=on_stage,
        on_artifact=on_artifact,
    ).bundle


def rival_of(network: ReeFL, rival: Rival, recipe: ExportRecipe, folder: Path) -> Bundle:
    """Return what the segments of a network are compared with, as a bundle in ``folder``."""
    folder.mkdir(parents=True)
    artifact = cache.fetch_artifact(_key(network, rival, recipe), folder)
    if artifact is None:
        say(f"{recipe.title}: {rival}")
        conversion = conversion_of(_as_rival(network, rival), recipe, folder)
        converter_of(rival, recipe)(conversion)
        artifact = keep_rival(network, rival, conversion)
    return _described(_outside(network.submodel, rival), artifact, folder)


def keep_rival(network: ReeFL, rival: Rival, conversion: Conversion) -> Artifact:
    """Put what a conversion has made into the cache."""
    files = sorted(path for path in conversion.folder.rglob("*") if path.is_file())
    artifact = Artifact(
        target=conversion.recipe.target,
        delegate=conversion.recipe.delegate,
        precision=conversion.recipe.precision,
        batch_sizes=conversion.recipe.batch_sizes,
        toolchain=conversion.recipe.toolchain(),
        files=tuple(BundleFile.of(conversion.folder, path) for path in files),
    )
    cache.store_artifact(_key(network, rival, conversion.recipe), conversion.folder, artifact)
    return artifact


def conversion_of(network: ReeFL, recipe: ExportRecipe, folder: Path) -> Conversion:
    """Return the conversion of a network, float32."""
    return Conversion(
        recipe=recipe,
        network=network,
        checkpoint=checkpoint_of(network),
        facts=schema.to_json(facts_of(_manifest(network.submodel, ()))),
        calibration=None,
        folder=folder,
        on_stage=say,
    )


def converter_of(rival: Rival | None, recipe: ExportRecipe) -> Convert:
    """Return what exports a rival, or the segments themselves."""
    if rival == "stock":
        return lower_in_the_stock_way
    match recipe.target:
        case "onnx":
            return export_onnx if rival is None else export_as_one_graph
        case "executorch":
            return export_executorch
        case "coreml":  # its exporter holds the weights to those of a sub-model
            raise ValueError("there are no rivals in Core ML")


def _as_rival(network: ReeFL, rival: Rival) -> ReeFL:
    return network if rival == "stock" else as_one_graph(network, rival)


def _outside(submodel: Submodel, rival: Rival) -> Submodel:
    return submodel if rival == "stock" else seen_from_outside(submodel, rival)


def _key(network: ReeFL, rival: Rival, recipe: ExportRecipe) -> str:
    identity = {
        "benchmark": f"{rival}, traced as a whole",
        "submodel": schema.to_dict(network.submodel),
    }
    weights = weights_sha256(arrays_of(network))
    return cache.artifact_key(recipe, json.dumps(identity), weights, None)


def _described(submodel: Submodel, artifact: Artifact, folder: Path) -> Bundle:
    """Write a manifest beside an artifact, so that the runtimes open it like any bundle."""
    manifest = _manifest(submodel, (artifact,))
    write_text(folder / MANIFEST_NAME, schema.to_json(manifest))
    return Bundle(folder, manifest)


def _manifest(submodel: Submodel, artifacts: tuple[Artifact, ...]) -> Manifest:
    return Manifest(
        name="benchmark",
        created_at="",
        submodel=submodel,
        weights_sha256="0" * 64,
        has_random_weights=True,
        class_names=numbered_names(submodel.architecture.num_classes),
        segments=signatures(submodel),
        artifacts=artifacts,
    )

"""Exports to ONNX in every precision."""

from dataclasses import replace
from pathlib import Path

from reefl_edge.bundles.artifacts import Precision
from reefl_edge.bundles.bundle import Bundle
from reefl_edge.checkpoints.checkpoint import Checkpoint
from reefl_export.bundle import ExportImages, Origin, export_checkpoint
from reefl_export.images import NamedImages
from reefl_export.recipe import stock
from tests.fakes.images import random_images

CALIBRATION = ExportImages(calibration=NamedImages(name="typical", pixels=random_images(4, seed=3)))
PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "int8-dynamic", "int8-static")


def exported(checkpoint: Checkpoint, folder: Path) -> Bundle:
    """Export a network to ONNX in every precision, with an adaptive graph beside the segments."""
    recipes = [
        replace(recipe, adaptive_graph=True, gate=replace(recipe.gate, min_top1_agreement=None))
        for recipe in stock(["onnx"], PRECISIONS)
    ]
    origin = Origin(name="tiny", threshold=0.8)
    return export_checkpoint(checkpoint, folder, recipes, origin, images=CALIBRATION).bundle

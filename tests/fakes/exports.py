"""Conversions as the tests of the converters need them."""

from pathlib import Path

from reefl_edge.checkpoints.checkpoint import Checkpoint
from reefl_edge.models.arrays import arrays_of
from reefl_edge.models.reefl import ReeFL
from reefl_export.conversion import Conversion, OnStage
from reefl_export.images import noise
from reefl_export.recipe import ExportRecipe, recipe_for

FACTS = '{"threshold": 0.8}'


def conversion_of(
    network: ReeFL,
    folder: Path,
    on_stage: OnStage = lambda _: None,
    *,
    recipe: ExportRecipe | None = None,
) -> Conversion:
    """Return the conversion of a network in a folder, calibrated on noise; to Core ML fp32."""
    return Conversion(
        recipe=recipe or recipe_for("coreml"),
        network=network,
        checkpoint=Checkpoint(submodel=network.submodel, arrays=arrays_of(network)),
        facts=FACTS,
        calibration=noise(network.submodel).pixels,
        folder=folder,
        on_stage=on_stage,
    )

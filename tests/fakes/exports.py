"""Export jobs as the tests of the converters need them."""

from pathlib import Path

from reefl_edge.checkpoints.checkpoint import Checkpoint
from reefl_edge.models.arrays import arrays_of
from reefl_edge.models.reefl import ReeFL
from reefl_export.conversion import ExportJob, OnStage
from reefl_export.images import noise
from reefl_export.recipe import ExportRecipe, recipe_for

FACTS = '{"threshold": 0.8}'


def job_for(
    network: ReeFL,
    folder: Path,
    on_stage: OnStage = lambda _: None,
    *,
    recipe: ExportRecipe | None = None,
) -> ExportJob:
    """Return a job that exports a network into a folder, calibrated on noise; to Core ML fp32."""
    return ExportJob(
        recipe=recipe or recipe_for("coreml"),
        network=network,
        checkpoint=Checkpoint(submodel=network.submodel, arrays=arrays_of(network)),
        facts=FACTS,
        calibration=noise(network.submodel).images,
        folder=folder,
        on_stage=on_stage,
    )

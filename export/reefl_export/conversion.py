"""What is a converter given to make one artifact from?"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from reefl_edge.checkpoints.checkpoint import Checkpoint
from reefl_edge.runtimes.base import default_threads
from reefl_edge.submodel import Segment, Submodel
from reefl_export.recipe import ExportRecipe

if TYPE_CHECKING:
    from reefl_edge.models.reefl import ReeFL

OnStage = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversion:
    """One artifact to make.

    Attributes:
        recipe: How.
        network: The network to trace, folded, in evaluation mode.
        checkpoint: Its arrays.
        facts: The facts of the model, as JSON: the artifact's own metadata.
        calibration: Typical images, uint8 (N, H, W, 3), where the recipe needs them.
        folder: Where the files go.
        threads: Threads to compute with.
        on_stage: Called with a description of each stage as it begins.
    """

    recipe: ExportRecipe
    network: "ReeFL"
    checkpoint: Checkpoint
    facts: str
    calibration: NDArray[np.uint8] | None
    folder: Path
    threads: int = field(default_factory=default_threads)
    on_stage: OnStage

    @property
    def submodel(self) -> Submodel:
        """What is exported."""
        return self.checkpoint.submodel

    def segments(self) -> tuple[Segment, ...]:
        """Return the chain to export."""
        return self.submodel.segments()

    def say(self, stage: str) -> None:
        """Report a stage of this artifact."""
        self.on_stage(f"{self.recipe.title}: {stage}")

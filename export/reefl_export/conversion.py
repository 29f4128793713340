"""What is a converter given to make one artifact from?"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from reefl_edge.checkpoints.checkpoint import Checkpoint
from reefl_edge.runtimes.base import default_threads
from reefl_edge.submodel import Segment, Submodel
from reefl_export.recipe import ExportRecipe

if TYPE_CHECKING:
    from reefl_edge.models.reefl import ReeFL

OnStage = Callable[[str], None]
OnArtifact = Callable[[int, int], None]
Made = TypeVar("Made")


class SharedWork:
    """What conversions of one network have in common: made once, when the first asks for it."""

    def __init__(self) -> None:
        self._made: dict[Hashable, Any] = {}

    def once(self, what: Hashable, make: Callable[[], Made]) -> Made:
        """Return what is known under a name, making it the first time."""
        if what not in self._made:
            self._made[what] = make()
        made: Made = self._made[what]
        return made


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
        shared: What was made for other conversions of the same network.
        threads: Threads to compute with.
        on_stage: Called with a description of each stage as it begins.
    """

    recipe: ExportRecipe
    network: "ReeFL"
    checkpoint: Checkpoint
    facts: str
    calibration: NDArray[np.uint8] | None
    folder: Path
    shared: SharedWork = field(default_factory=SharedWork)
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

"""Which training steps are to be compiled, and what is a converter given to make one from?"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from reefl_edge.bundles.artifacts import Target, check_unique
from reefl_edge.bundles.training import check_batch_size
from reefl_edge.checkpoints.checkpoint import Checkpoint
from reefl_edge.regimes import Regime
from reefl_export.conversion import OnStage, SharedWork

if TYPE_CHECKING:
    from reefl_edge.models.reefl import ReeFL

DEFAULT_BATCH_SIZE = 8

# The formats that take a training step, the preferred one first.
STEP_TARGETS: tuple[Target, ...] = ("onnx", "executorch")
# Of the file in which a format computes a step.
STEP_SUFFIXES: dict[Target, str] = {"onnx": ".onnx", "executorch": ".pte"}
# Those that get one unasked: the others take minutes to compile.
DEFAULT_STEP_TARGETS: tuple[Target, ...] = ("onnx",)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingPlan:
    """Which training steps to compile.

    Attributes:
        regimes: One step for each.
        batch_size: Images of a step.
        targets: The formats that each is compiled to, the preferred one first.
        recompute: Compute blocks again on the way back, instead of keeping what they computed:
            less memory, more time.
        seed: Of adapters that the model lacks.

    Raises:
        ValueError: The batch size is out of range, or a regime or format stands twice, or none is
            given, or the format takes no training step, or none that computes blocks again.
    """

    regimes: tuple[Regime, ...]
    batch_size: int = DEFAULT_BATCH_SIZE
    targets: tuple[Target, ...] = DEFAULT_STEP_TARGETS
    recompute: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.regimes or not self.targets:
            raise ValueError("a plan to train needs a regime and a format at least")
        check_unique(self.regimes)
        check_unique(self.targets)
        check_batch_size(self.batch_size)
        if self.recompute and "executorch" in self.targets:
            raise ValueError("only an onnx step computes blocks again, not one for executorch")
        for target in self.targets:
            if target not in STEP_TARGETS:
                raise ValueError(
                    f"no training step is compiled to {target}; choose {', '.join(STEP_TARGETS)}"
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class StepConversion:
    """One training step to compile.

    Attributes:
        network: The network to trace, adapters unfolded, in evaluation mode.
        start: Its arrays: what training starts from.
        batch_size: Images of a step.
        recompute: Compute blocks again on the way back.
        facts: The facts of the step, as JSON: the artifact's own metadata.
        path: Where it goes.
        weights: Files in or below the same folder that hold arrays of the start, to read the frozen
            ones from.
        shared: What was made for other steps of the same model.
        on_stage: Called with a description of each stage as it begins.
    """

    network: "ReeFL"
    start: Checkpoint
    batch_size: int
    recompute: bool
    facts: str
    path: Path
    weights: tuple[Path, ...]
    shared: SharedWork
    on_stage: OnStage

    def say(self, stage: str) -> None:
        """Report a stage of this step."""
        self.on_stage(f"{self.start.submodel.regime} training: {stage}")

"""Which step trains what a user names: one that its bundle holds compiled, or PyTorch's?"""

from dataclasses import dataclass
from math import inf
from pathlib import Path

from reefl_edge.bundles.artifacts import float32_onnx
from reefl_edge.bundles.bundle import Bundle
from reefl_edge.bundles.manifest import MANIFEST_NAME
from reefl_edge.bundles.training import TrainingStep
from reefl_edge.errors import BudgetError
from reefl_edge.finetune.compiled import (
    CompiledName,
    StepperName,
    check_batch_size,
    export_command,
    preferred_stepper,
    step_for,
)
from reefl_edge.regimes import Regime
from reefl_edge.tasks.models import Model, trainable_model


@dataclass(frozen=True, slots=True)
class CompiledStep:
    """A compiled step of a bundle, and what runs it."""

    bundle: Bundle
    step: TrainingStep
    stepper: CompiledName

    def model(self) -> Model:
        """Return what it starts from.

        Raises:
            InputError: A file is missing or changed.
        """
        return trainable_model(self.bundle, self.step)

    @property
    def is_applicable(self) -> bool:
        """Whether what it trains fits into weights that its bundle holds apart."""
        manifest = self.bundle.manifest
        deployed, held = (
            {spec.name for spec in submodel.arrays()}
            for submodel in (self.step.submodel.folded(), manifest.submodel)
        )
        return self.holds_weights and deployed == held

    @property
    def holds_weights(self) -> bool:
        """Whether its bundle holds weights that can be exported again: those of float32 ONNX."""
        return float32_onnx(self.bundle.manifest.artifacts) is not None

    def check_memory(self, budget_mib: float) -> None:
        """Refuse a step that is predicted to take more memory than there is; nothing is loaded.

        Args:
            budget_mib: The most that it may take above the imports of its process.

        Raises:
            BudgetError: It is predicted to take more.
            ValueError: The budget is no positive number, or nothing is predicted of the step.
        """
        if not 0 < budget_mib < inf:
            raise ValueError(f"a budget is a positive number of MiB, got {budget_mib:g}")
        artifact = self.step.artifact(self.stepper)
        peak_mib = None if artifact is None else artifact.peak_mib
        regime = self.step.submodel.regime
        if peak_mib is None:
            raise ValueError(
                f"nothing is predicted of the {self.stepper} step that trains {regime}"
            )
        if peak_mib > budget_mib:
            command = export_command(self.stepper, [regime], None)
            raise BudgetError(
                f"the {self.stepper} step that trains {regime} takes {peak_mib:.0f} MiB, not "
                f"{budget_mib:g}; compile a smaller one with '{command} --budget-mib "
                f"{budget_mib:g}'"
            )

    def check_batch_size(self, batch_size: int) -> None:
        """Refuse a batch that is larger than it was compiled for.

        Raises:
            ValueError: It is.
        """
        check_batch_size(self.step, self.stepper, batch_size)


def compiled_step(
    source: str | Path, stepper: StepperName | None, regime: Regime
) -> CompiledStep | None:
    """Return the compiled step that trains what a user names; None for PyTorch's.

    Args:
        source: A bundle's folder, or anything else that stands for a model.
        stepper: What is to take the steps; None for what the bundle holds steps for, else PyTorch.
        regime: What is trained.

    Raises:
        InputError: The bundle has no such step, or its manifest is damaged.
        ValueError: A compiled step is asked for, and ``source`` is no bundle.
    """
    path = Path(source)
    if not (path / MANIFEST_NAME).is_file():
        if stepper not in (None, "eager"):
            raise ValueError(f"{stepper} runs the compiled step of a bundle; {source} is none")
        return None
    bundle = Bundle.open(path)
    chosen = stepper or preferred_stepper(bundle)
    if chosen == "eager":
        return None
    return CompiledStep(bundle, step_for(bundle, regime, chosen), chosen)

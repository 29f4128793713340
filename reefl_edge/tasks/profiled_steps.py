"""Which training step is measured at which exit, and where does a fresh process find it?

The step that will really run: PyTorch's, or a compiled one. A bundle's compiled step is of one
depth; of any other model a step is compiled for each exit, into bundles that are thrown away.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from reefl_edge.bundles.bundle import Bundle
from reefl_edge.errors import InputError
from reefl_edge.finetune.compiled import (
    CompiledName,
    StepperName,
    export_command,
    preferred_stepper_of,
    step_for,
)
from reefl_edge.jobs.job import STEP_PLAN, StepJob
from reefl_edge.jobs.sources import BundleFolder, ModelSource
from reefl_edge.profiling.measure import DEFAULT_BATCH_SIZE, step_jobs
from reefl_edge.regimes import Regime
from reefl_edge.submodel import Submodel
from reefl_edge.tasks.models import Model
from reefl_export.bundle import Origin, export_checkpoint
from reefl_export.conversion import OnStage
from reefl_export.recipe import recipe_for
from reefl_export.training import DEFAULT_BATCH_SIZE as COMPILED_BATCH_SIZE
from reefl_export.training import TrainingPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfiledStep:
    """A training step to measure, settled before anything is compiled.

    Attributes:
        regime: What it trains.
        stepper: What takes it.
        batch_size: Images of it.
        bundle: The bundle that holds it, compiled for its deepest exit; None for a step at every
            exit.
    """

    regime: Regime
    stepper: StepperName
    batch_size: int
    bundle: Bundle | None = None

    @classmethod
    def of(
        cls, model: Model, regime: Regime, stepper: StepperName | None, batch_size: int | None
    ) -> Self:
        """Settle which step of a model is measured.

        Args:
            model: The model, cut at the deepest exit to measure.
            regime: What it trains.
            stepper: What takes it; None for what a bundle holds a step of this depth for, ONNX
                first, else eager.
            batch_size: Images of it; None for what it was compiled for.

        Raises:
            InputError: The bundle has no such step of this depth.
            ValueError: The step was compiled for another batch size.
        """
        bundle = None if model.bundle_path is None else Bundle.open(model.bundle_path)
        submodel = model.checkpoint.submodel.with_regime(regime)
        if stepper is None:
            stepper = "eager" if bundle is None else preferred_stepper_of(bundle, submodel)
        if stepper == "eager":
            size = batch_size or DEFAULT_BATCH_SIZE
            return cls(regime=regime, stepper=stepper, batch_size=size)
        if bundle is None:
            size = batch_size or COMPILED_BATCH_SIZE
            return cls(regime=regime, stepper=stepper, batch_size=size)
        size = _compiled_batch_size(bundle, submodel, stepper, batch_size)
        return cls(regime=regime, stepper=stepper, batch_size=size, bundle=bundle)

    def jobs(
        self,
        model: Model,
        weights: ModelSource,
        folder: Path,
        files: dict[str, Path],
        on_stage: OnStage,
    ) -> tuple[StepJob, ...]:
        """List what to measure, on one thread, shallowest exit first; compile what has to be.

        Args:
            model: The model.
            weights: What PyTorch loads.
            folder: Where compiled steps go.
            files: Filled with where they lie.
            on_stage: Called with a description of each stage as it begins.

        Raises:
            MissingToolchainError: What compiles the step is not installed.
            ParityError: The compiled step does not compute what the network computes.
        """
        submodel = model.checkpoint.submodel.with_regime(self.regime)
        if self.stepper == "eager":
            return step_jobs(submodel, weights, threads=1, batch_size=self.batch_size)
        if self.bundle is not None:
            return (self._compiled_job(submodel, self.stepper, self.bundle, files),)
        compiled = self._compiled(model, self.stepper, folder, on_stage)
        return tuple(
            self._compiled_job(submodel.cut(exit_index), self.stepper, bundle, files)
            for exit_index, bundle in enumerate(compiled)
        )

    def _compiled(
        self, model: Model, stepper: CompiledName, folder: Path, on_stage: OnStage
    ) -> Iterator[Bundle]:
        """Compile the step of each exit, beside the inference whose weights it shares."""
        plan = TrainingPlan(regimes=(self.regime,), batch_size=self.batch_size, targets=(stepper,))
        for exit_index in range(model.checkpoint.submodel.num_exits):
            on_stage(f"compile the training step of exit {exit_index}")
            exported = export_checkpoint(
                model.checkpoint.cut(exit_index),
                folder / f"step_{exit_index}",
                [recipe_for(stepper)],
                Origin(name=model.name),
                training=plan,
            )
            yield exported.bundle

    def _compiled_job(
        self, submodel: Submodel, stepper: CompiledName, bundle: Bundle, files: dict[str, Path]
    ) -> StepJob:
        source = BundleFolder.of(bundle.directory)
        files[source.sha256] = bundle.directory
        return StepJob(
            submodel=submodel,
            source=source,
            runtime=stepper,
            precision="fp32",
            threads=1,
            batch_size=self.batch_size,
            plan=STEP_PLAN,
        )


def _compiled_batch_size(
    bundle: Bundle, submodel: Submodel, stepper: CompiledName, batch_size: int | None
) -> int:
    """Return how many images a bundle's compiled step takes, which must be those asked for."""
    step = step_for(bundle, submodel.regime, stepper)
    if step.submodel != submodel:
        raise InputError(
            f"{bundle.directory} has a {stepper} step for exits 0 to {step.submodel.max_exit} "
            f"alone, not 0 to {submodel.max_exit}; measure that, or a step of every exit with "
            "--step-runtime eager"
        )
    if batch_size not in (None, step.batch_size):
        command = export_command(stepper, (submodel.regime,), batch_size)
        raise ValueError(
            f"the {stepper} step that trains {submodel.regime} was compiled for {step.batch_size} "
            f"images, not {batch_size}; compile another with '{command}', or measure PyTorch's "
            "with --step-runtime eager"
        )
    return step.batch_size

"""Which compiled step of a bundle trains a regime, on how large a batch?"""

from collections.abc import Sequence
from typing import Literal, get_args

from reefl_edge.bundles.bundle import Bundle
from reefl_edge.bundles.training import TrainingStep
from reefl_edge.errors import InputError
from reefl_edge.regimes import Regime
from reefl_edge.submodel import Submodel

# What runs compiled steps, by the format that they are compiled to; the preferred one first.
CompiledName = Literal["onnx", "executorch"]
StepperName = Literal["onnx", "executorch", "eager"]

STEPPERS: tuple[StepperName, ...] = get_args(StepperName)
_COMPILED: tuple[CompiledName, ...] = get_args(CompiledName)


def preferred_stepper(bundle: Bundle) -> StepperName:
    """Return what trains a bundle here: what it holds compiled steps for, else PyTorch."""
    return next((name for name in _COMPILED if _steps(bundle, name)), "eager")


def preferred_stepper_of(bundle: Bundle, submodel: Submodel) -> StepperName:
    """Return what trains just this sub-model of a bundle here: at its depth, under its regime."""
    return next(
        (
            name
            for name in _COMPILED
            if any(step.submodel == submodel for step in _steps(bundle, name))
        ),
        "eager",
    )


def step_for(bundle: Bundle, regime: Regime, stepper: CompiledName) -> TrainingStep:
    """Return the compiled step of a bundle for a regime.

    Raises:
        InputError: There is none; those there are, and the export that would make it, are named.
    """
    steps = _steps(bundle, stepper)
    for step in steps:
        if step.submodel.regime == regime:
            return step
    have = [step.submodel.regime for step in steps]
    others = f"only {', '.join(have)}: choose it with --regime, or" if have else "nor any other;"
    raise InputError(
        f"{bundle.directory} has no {stepper} step that trains {regime}, {others} compile it with "
        f"'{export_command(stepper, [*have, regime], steps[0].batch_size if steps else None)}'"
    )


def check_batch_size(step: TrainingStep, stepper: CompiledName, batch_size: int) -> None:
    """Refuse a batch that is larger than a step was compiled for.

    Raises:
        ValueError: It is.
    """
    if batch_size > step.batch_size:
        regime = step.submodel.regime
        command = export_command(stepper, [regime], batch_size)
        raise ValueError(
            f"the {stepper} step that trains {regime} takes up to {step.batch_size} images, not "
            f"{batch_size}; compile a larger one with '{command}'"
        )


def export_command(stepper: CompiledName, regimes: Sequence[Regime], batch_size: int | None) -> str:
    """Return the command that compiles steps; None for the batch size that it takes itself."""
    size = "" if batch_size is None else f" --training-batch-size {batch_size}"
    return f"reefl-edge export MODEL --training {','.join(regimes)}{size} --format {stepper}"


def _steps(bundle: Bundle, stepper: CompiledName) -> list[TrainingStep]:
    training = bundle.manifest.training
    steps = () if training is None else training.steps
    return [step for step in steps if step.artifact(stepper) is not None]

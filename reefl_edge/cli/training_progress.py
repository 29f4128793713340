"""What is shown of training while it goes on?"""

from typing import TYPE_CHECKING

from reefl_edge.cli import render

if TYPE_CHECKING:
    from reefl_edge.finetune.loop import OnStep
    from reefl_edge.finetune.modes import DistillMode
    from reefl_edge.finetune.steppers.base import StepMetrics


def steps_on(bar: render.Bar, distill: "DistillMode") -> "OnStep":
    """Return what shows every step: the loss of each exit, who taught, the memory in use."""
    from reefl_edge.jobs.memory import resident_mib

    def show(done: int, total: int, metrics: "StepMetrics") -> None:
        losses = " ".join(f"{loss:.3f}" for loss in metrics.exit_losses)
        said = (f"loss {losses}", _teaching(metrics, distill), f"{resident_mib():.0f} MiB")
        bar.step(done, total, ", ".join(filter(None, said)))

    return show


def _teaching(metrics: "StepMetrics", distill: "DistillMode") -> str:
    if len(metrics.exit_losses) == 1:  # it does not teach itself
        return ""
    match distill:
        case "none":
            return ""
        case "all":
            return "all teach"
        case _:
            return f"exit {metrics.teacher_index} teaches"

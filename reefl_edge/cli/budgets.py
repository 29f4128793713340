"""How does a user say what a device may spend?

The options of every command that chooses a depth, and the budget that they make.
"""

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from reefl_edge.cli import options

if TYPE_CHECKING:
    from reefl_edge.profiling.budget import Budget

InferenceMs = Annotated[
    float | None, typer.Option("--budget-ms", help="For one image, at the p90.")
]
StepMs = Annotated[
    float | None, typer.Option("--budget-step-ms", help="For one training step, at the p90.")
]
MemoryMib = Annotated[
    float | None, typer.Option("--budget-mib", help="For the larger of the two peaks.")
]
AcceptNoisy = Annotated[
    bool, typer.Option("--accept-noisy", help="Choose also by measurements that are not valid.")
]


def budget_of(
    inference_ms: float | None, step_ms: float | None, memory_mib: float | None
) -> "Budget | None":
    """Return what the options allow; None if none of them is given.

    Raises:
        BadParameter: A limit is out of range.
    """
    from reefl_edge.profiling.budget import Budget

    if inference_ms is None and step_ms is None and memory_mib is None:
        return None
    with options.usage_errors("--budget-ms"):
        budget = Budget(inference_ms=inference_ms)
    with options.usage_errors("--budget-step-ms"):
        budget = replace(budget, step_ms=step_ms)
    with options.usage_errors("--budget-mib"):
        return replace(budget, memory_mib=memory_mib)

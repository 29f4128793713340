"""Which batch fits into a device's memory, and must blocks be computed again for it?

The largest batch whose steps all fit is taken, from the sizes tried; of it, steps that fit compute
nothing again, for that takes time.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

from reefl_edge.bundles.artifacts import Target
from reefl_edge.errors import BudgetError
from reefl_edge.regimes import Regime
from reefl_edge.step_memory import predicted_peak_mib
from reefl_edge.submodel import Submodel

# Tried from the largest, which is eager's default, on.
BATCH_SIZES = (32, 16, 8, 4, 2, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryPlan:
    """What was picked, so that every regime's step fits.

    Attributes:
        batch_size: Images of a step.
        recompute: Blocks are computed again on the way back.
        peak_mib: The largest of the predicted peaks.
    """

    batch_size: int
    recompute: bool
    peak_mib: float

    @classmethod
    def within(
        cls,
        budget_mib: float,
        submodel: Submodel,
        regimes: Iterable[Regime],
        *,
        batch_size: int | None = None,
        recompute: bool = False,
        targets: Sequence[Target] = ("onnx",),
    ) -> Self:
        """Pick what fits into a budget.

        Args:
            budget_mib: The most that a step may take above the imports of its process.
            submodel: What is trained.
            regimes: How, one step for each.
            batch_size: Images of a step; None to pick the largest batch that fits.
            recompute: Compute blocks again in any case.
            targets: The formats, in each of which every step is to fit; only an ONNX step can
                compute blocks again.

        Raises:
            BudgetError: Nothing fits; what takes least is named.
        """
        trained = [submodel.with_regime(regime) for regime in regimes]
        sizes = BATCH_SIZES if batch_size is None else (batch_size,)
        is_onnx_alone = {*targets} == {"onnx"}
        again_or_not = (True,) if recompute else (False, True) if is_onnx_alone else (False,)
        plans = [
            cls(
                batch_size=size,
                recompute=again,
                peak_mib=max(
                    predicted_peak_mib(each, batch_size=size, recompute=again, target=target)
                    for each in trained
                    for target in targets
                ),
            )
            for size in sizes
            for again in again_or_not
        ]
        fitting = next((plan for plan in plans if plan.peak_mib <= budget_mib), None)
        if fitting is None:
            least = min(plans, key=lambda plan: plan.peak_mib)
            said = [
                f"no training step fits in {budget_mib:g} MiB",
                f"the smallest takes {least.peak_mib:.0f} MiB, with {least}",
            ]
            if not is_onnx_alone:
                said.append("ONNX alone (--format onnx) can compute blocks again")
            if submodel.num_exits > 1:
                said.append("keep fewer exits (--max-exit)")
            raise BudgetError("; ".join(said))
        return fitting

    def __str__(self) -> str:
        """Say what was picked."""
        again = ", blocks computed again" if self.recompute else ""
        images = "image" if self.batch_size == 1 else "images"
        return f"{self.batch_size} {images} a step{again}"

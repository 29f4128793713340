"""Which batch fits into a budget?"""

import pytest

from reefl_edge.architectures import named_submodel
from reefl_edge.errors import BudgetError
from reefl_edge.step_memory import predicted_peak_mib
from reefl_export.memory_plan import MemoryPlan

SUBMODEL = named_submodel("deit_tiny", num_classes=100)


def peak_of(batch_size: int, *, recompute: bool) -> float:
    frozen = SUBMODEL.with_regime("frozen")
    return predicted_peak_mib(frozen, batch_size=batch_size, recompute=recompute)


def test_the_largest_batch_that_fits_is_picked() -> None:
    picked = MemoryPlan.within(peak_of(8, recompute=True), SUBMODEL, ["frozen"])

    assert (picked.batch_size, picked.recompute) == (8, True)


def test_nothing_is_computed_again_that_fits_as_it_is() -> None:
    picked = MemoryPlan.within(1e6, SUBMODEL, ["frozen"])

    assert (picked.batch_size, picked.recompute) == (32, False)


def test_a_batch_size_that_is_given_stays() -> None:
    budget_mib = peak_of(8, recompute=True)

    picked = MemoryPlan.within(budget_mib, SUBMODEL, ["frozen"], batch_size=4)

    assert picked.batch_size == 4
    assert picked.recompute is (peak_of(4, recompute=False) > budget_mib)


def test_every_regime_must_fit() -> None:
    picked = MemoryPlan.within(peak_of(8, recompute=False), SUBMODEL, ["frozen", "full"])

    assert (picked.batch_size, picked.recompute) != (8, False)


def test_where_nothing_fits_the_smallest_is_named() -> None:
    least = peak_of(1, recompute=True)

    with pytest.raises(
        BudgetError,
        match=f"fits in 10 MiB; the smallest takes {least:.0f} MiB, with 1 image a step",
    ):
        MemoryPlan.within(10, SUBMODEL, ["frozen"])

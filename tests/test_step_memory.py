"""What a compiled step is predicted to take: held to what was measured, and to common sense."""

import json
from pathlib import Path
from typing import cast

import pytest

from reefl_edge.architectures import named_submodel
from reefl_edge.regimes import REGIMES, Regime
from reefl_edge.step_memory import predicted_peak_mib

REPORT = Path(__file__).parents[1] / "benchmarks" / "results" / "memory_plan.json"
CELLS = {
    name: cell
    for name, cell in json.loads(REPORT.read_text())["cells"].items()
    if "measured_mib" in cell
}


@pytest.mark.parametrize("name", CELLS)
def test_predictions_are_within_15_percent_of_what_was_measured(name: str) -> None:
    architecture, exit_text, regime, *how = name.split(", ")
    submodel = named_submodel(architecture, num_classes=100, regime=cast(Regime, regime))
    submodel = submodel.cut(int(exit_text.removeprefix("exit ")))
    batch_size = {"deit_tiny": 8, "deit_small": 4}[architecture]

    peak_mib = predicted_peak_mib(
        submodel,
        batch_size=batch_size,
        recompute="again" in how,
        target="executorch" if "executorch" in how else "onnx",
    )

    assert peak_mib == pytest.approx(CELLS[name]["measured_mib"], rel=0.15)


@pytest.mark.parametrize("regime", REGIMES)
def test_images_take_memory_and_recomputation_saves_it(regime: Regime) -> None:
    submodel = named_submodel("deit_small", regime=regime)

    kept, again, more = (
        predicted_peak_mib(submodel, batch_size=batch_size, recompute=recompute)
        for batch_size, recompute in ((8, False), (8, True), (16, False))
    )

    assert again < kept < more

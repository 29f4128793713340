"""Does a step compiled to ExecuTorch compute the pure step, in every regime?"""

from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from torch import Tensor

from reefl_edge.runtimes.executorch import STEP_METHOD, quiet_engine
from reefl_edge.submodel import REGIMES, Regime
from reefl_export.quiet import quiet
from tests.fakes.compiled_steps import (
    Batch,
    hold_to_fifty_pure_steps,
    hold_to_pure_step,
    step_network,
)
from tests.fakes.exports import FACTS
from tests.fakes.submodels import tiny_submodel

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("executorch") is None, reason="executorch makes the program"),
]


# What a network of one exit leaves out, it leaves out in every regime.
@pytest.mark.parametrize(
    ("regime", "num_exits"), [("frozen", 1), *((regime, 4) for regime in REGIMES)]
)
def test_a_compiled_step_is_the_pure_step(regime: Regime, num_exits: int, tmp_path: Path) -> None:
    with quiet_engine():
        from executorch.runtime import Runtime as Engine

        from reefl_export.executorch.step.exporter import lower_step

    submodel = replace(tiny_submodel(num_blocks=4, num_exits=num_exits), regime=regime)
    network = step_network(submodel)
    path = tmp_path / "step.pte"
    with quiet():
        path.write_bytes(lower_step(network, batch_size=3, facts=FACTS).to_executorch().buffer)
    with quiet_engine():
        method = Engine.get().load_program(path).load_method(STEP_METHOD)

    def step(inputs: Sequence[Tensor]) -> Sequence[Tensor]:
        return [output.clone() for output in method.execute(inputs)]

    last_teaches = torch.zeros(num_exits, num_exits)
    last_teaches[-1, :-1] = 1
    for batch in (
        Batch(running_losses=tuple(float(index) for index in range(num_exits, 0, -1))),
        Batch(running_losses=(1.0,) * num_exits, num_examples=2, seed=1),
        Batch(teaches=last_teaches, seed=2),
    ):
        hold_to_pure_step(network, batch, step)
    hold_to_fifty_pure_steps(network, step, rate=0.01)

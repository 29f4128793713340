"""A fine-tuning step of any regime can be measured from a plain checkpoint."""

from pathlib import Path

import pytest

from reefl_edge.models.checkpoint import random_network, save_checkpoint
from reefl_edge.profiling.job import STEP_PLAN, CheckpointFile, Job
from reefl_edge.profiling.workloads import import_workload
from reefl_edge.regimes import REGIMES, Regime
from tests.fakes import tiny_submodel


@pytest.mark.parametrize("regime", REGIMES)
def test_a_step_of_any_regime_runs_from_a_plain_checkpoint(regime: Regime, tmp_path: Path) -> None:
    save_checkpoint(random_network(tiny_submodel(), seed=0), tmp_path / "plain.safetensors")
    job = Job(
        kind="step",
        runtime="eager",
        precision="fp32",
        threads=1,
        batch_size=2,
        submodel=tiny_submodel(max_exit=0).with_regime(regime),
        source=CheckpointFile(checkpoint=tmp_path / "plain.safetensors"),
        plan=STEP_PLAN,
    )

    run = import_workload(job)()

    run()
    run()

"""A fine-tuning step of any regime can be measured from a plain checkpoint."""

from pathlib import Path

import pytest

from reefl_edge.jobs.job import STEP_PLAN, StepJob
from reefl_edge.jobs.sources import CheckpointFile
from reefl_edge.jobs.workloads import import_workload
from reefl_edge.models.arrays import random_network
from reefl_edge.models.checkpoint import save_checkpoint
from reefl_edge.regimes import REGIMES, Regime
from tests.fakes.submodels import tiny_submodel


@pytest.mark.parametrize("regime", REGIMES)
def test_a_step_of_any_regime_runs_from_a_plain_checkpoint(regime: Regime, tmp_path: Path) -> None:
    path = tmp_path / "plain.safetensors"
    save_checkpoint(random_network(tiny_submodel(), seed=0), path)
    source = CheckpointFile.of(path)
    job = StepJob(
        runtime="eager",
        precision="fp32",
        threads=1,
        batch_size=2,
        submodel=tiny_submodel(max_exit=0).with_regime(regime),
        source=source,
        plan=STEP_PLAN,
    )

    run = import_workload(job, {source.sha256: path})()

    run()
    run()

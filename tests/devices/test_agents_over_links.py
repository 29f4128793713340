"""The real agent for this machine over both links, also in a root as bare as a phone's."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from reefl_edge.bundles.bundle import Bundle
from reefl_edge.data.dataset import ArrayDataset
from reefl_edge.devices.links.agents import PackedAgent
from reefl_edge.finetune.client import train_client
from reefl_edge.finetune.training import LocalTraining
from reefl_edge.jobs.device_training import train_client_on
from reefl_edge.jobs.job import Plan
from reefl_edge.jobs.running import run_job
from reefl_edge.jobs.sources import BundleFolder
from reefl_edge.profiling.measure import inference_jobs
from reefl_edge.runtimes.base import default_threads
from tests.built_agents import built_agent
from tests.fakes.images import random_images
from tests.remotes import LINKS, Remote, remote_of
from tests.trainings import write_inputs

FEW = Plan(warmup_runs=1, min_samples=3, min_seconds=0, max_seconds=60)


@pytest.fixture(scope="module", params=LINKS)
def remote(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Remote]:
    """A device with nothing but the agent."""
    built = built_agent(request.config)
    agent = PackedAgent(
        archive=built.archive,
        sha256=built.sha256,
        python_version=built.manifest.python_version,
        packages=built.manifest.packages,
    )
    kind: str = request.param
    folder = tmp_path_factory.mktemp(kind)
    with (
        pytest.MonkeyPatch.context() as patch,
        remote_of(kind, folder, agent_for=lambda _machine: agent) as remote,
    ):
        for name, value in remote.environment.items():
            patch.setenv(name, value)
        yield remote


def test_the_agent_there_measures_and_trains_as_we_do_here(remote: Remote, tmp_path: Path) -> None:
    write_inputs(tmp_path)
    bundle = Bundle.open(tmp_path / "bundle")
    source = BundleFolder.of(bundle.directory)
    job = inference_jobs(bundle.manifest.submodel, source, runtime="onnx", threads=1, plan=FEW)[-1]
    dataset = ArrayDataset(random_images(15), np.arange(15) % 3, ("a", "b", "c"), 16)
    training = LocalTraining(batch_size=2, learning_rate=0.1, augmentation="crop")

    with (link := remote.open()).held():
        found = run_job(link, job, {source.sha256: bundle.directory})
        host = link.describe()
    here = train_client(bundle, "frozen", dataset, training, stepper="onnx")
    there = train_client_on(
        remote.open(), bundle, "frozen", dataset, training, threads=default_threads()
    )

    assert len(found.latency_ms_samples) == 3
    assert host.packages["onnxruntime"]
    assert there.history.teacher_counts == here.history.teacher_counts
    for name, array in here.update.arrays.items():
        np.testing.assert_allclose(there.update.arrays[name], array, atol=1e-6)

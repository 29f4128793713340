"""The real agent for this machine over both links, also in a root as bare as a phone's."""

import platform
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from reefl_edge.adaptive import AdaptiveSession, ConfidencePolicy
from reefl_edge.agent.sources import DevicePython
from reefl_edge.answers import answers_to
from reefl_edge.bundles.bundle import Bundle
from reefl_edge.data.dataset import ArrayDataset
from reefl_edge.devices.links.agents import device_python_agent, packed
from reefl_edge.finetune.client import train_client
from reefl_edge.finetune.training import LocalTraining
from reefl_edge.jobs.device_training import train_client_on
from reefl_edge.jobs.job import Plan
from reefl_edge.jobs.running import run_job
from reefl_edge.jobs.sources import BundleFolder
from reefl_edge.profiling.measure import inference_jobs
from reefl_edge.runtimes.base import default_threads
from tests.built_agents import built_agent
from tests.classifying import classified_on
from tests.fakes.images import random_images
from tests.remotes import LINKS, Remote, remote_of
from tests.sshd import needs_sshd
from tests.trainings import trainable_bundle

FEW = Plan(warmup_runs=1, min_samples=3, min_seconds=0, max_seconds=60)


@pytest.fixture(scope="module", params=LINKS)
def remote(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Remote]:
    """A device with nothing but the agent."""
    agent = packed(built_agent(request.config))
    kind: str = request.param
    folder = tmp_path_factory.mktemp(kind)
    with (
        pytest.MonkeyPatch.context() as patch,
        remote_of(kind, folder, agent_for=lambda _machine: agent) as remote,
    ):
        for name, value in remote.environment.items():
            patch.setenv(name, value)
        yield remote


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle that is run and trained by onnxruntime."""
    return trainable_bundle(tmp_path_factory.mktemp("inputs"))


def test_the_agent_there_measures_and_trains_as_we_do_here(remote: Remote, bundle: Bundle) -> None:
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


def test_the_agent_there_gives_the_logits_that_we_do_here(remote: Remote, bundle: Bundle) -> None:
    images = random_images(15)
    at_once = AdaptiveSession.open(bundle, policy=ConfidencePolicy((1e-6,))).predict(images)
    thresholds = (float(np.median(at_once.confidences)),)
    session = AdaptiveSession.open(bundle, policy=ConfidencePolicy(thresholds))

    here = answers_to(session, images, wants_logits=True)
    there = classified_on(
        remote.open(), bundle, images, thresholds=thresholds, batch_size=15, wants_logits=True
    )

    assert {answer.exit_index for answer in here} == {0, 1}
    for answer, expected in zip(there, here, strict=True):
        assert answer.exit_index == expected.exit_index
        assert answer.class_index == expected.class_index
        assert answer.confidence == pytest.approx(expected.confidence, abs=1e-6)
        assert answer.logits == pytest.approx(expected.logits, abs=1e-6)


@pytest.fixture(scope="module")
def board(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Remote]:
    """A device that has a Python, and is sent packages alone."""
    built_agent(request.config, DevicePython(f"{sys.version_info[0]}.{sys.version_info[1]}"))
    with (
        pytest.MonkeyPatch.context() as patch,
        remote_of("ssh", tmp_path_factory.mktemp("board"), agent_for=device_python_agent) as board,
    ):
        patch.setenv("REEFL_EDGE_HOME", str(request.config.cache.mkdir("reefl-edge")))
        for name, value in board.environment.items():
            patch.setenv(name, value)
        yield board


@needs_sshd
def test_an_agent_on_the_python_there_says_which_it_is_and_answers_as_we_do_here(
    board: Remote, bundle: Bundle
) -> None:
    images = random_images(3)

    with (link := board.open()).held():
        host = link.describe()
    here = answers_to(AdaptiveSession.open(bundle), images, wants_logits=True)
    there = classified_on(board.open(), bundle, images, batch_size=3, wants_logits=True)

    assert host.device_python == str(Path(sys.executable).resolve())
    assert host.python_version == platform.python_version()
    for answer, expected in zip(there, here, strict=True):
        assert answer.logits == pytest.approx(expected.logits, abs=1e-6)

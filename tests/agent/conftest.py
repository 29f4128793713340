"""The real agent, and a bundle for it to run."""

from pathlib import Path

import pytest

from reefl_edge.agent.agent import Agent
from reefl_edge.bundles.bundle import Bundle
from tests.built_agents import built_agent
from tests.fakes.trainable import labelled_images, trainable_bundle


@pytest.fixture(scope="session")
def agent(pytestconfig: pytest.Config) -> Agent:
    return built_agent(pytestconfig)


@pytest.fixture(scope="session")
def trainable(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return trainable_bundle(tmp_path_factory.mktemp("bundles"))


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return labelled_images(tmp_path_factory.mktemp("data") / "data.npz")

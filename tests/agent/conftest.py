"""The real agent, and a bundle for it to run."""

from pathlib import Path

import numpy as np
import pytest

from reefl_edge.agent.agent import Agent
from reefl_edge.bundles.bundle import Bundle
from reefl_edge.checkpoints.checkpoint import Checkpoint
from reefl_edge.models.arrays import arrays_of
from reefl_export.bundle import Origin, export_checkpoint
from reefl_export.recipe import stock
from reefl_export.training import TrainingPlan
from tests.built_agents import built_agent
from tests.fakes.images import random_images
from tests.fakes.networks import lively_network
from tests.fakes.submodels import tiny_submodel


@pytest.fixture(scope="session")
def agent(pytestconfig: pytest.Config) -> Agent:
    return built_agent(pytestconfig)


@pytest.fixture(scope="session")
def trainable(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle with ONNX segments and a compiled step."""
    folder = tmp_path_factory.mktemp("bundles")
    network = lively_network(tiny_submodel(num_blocks=2))
    checkpoint = Checkpoint(submodel=network.submodel, arrays=arrays_of(network))
    plan = TrainingPlan(regimes=("frozen",), batch_size=4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REEFL_EDGE_HOME", str(folder / "cache"))
        export_checkpoint(
            checkpoint, folder / "bundle", stock(["onnx"]), Origin(name="tiny"), training=plan
        )
    return Bundle.open(folder / "bundle")


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten labelled images."""
    path = tmp_path_factory.mktemp("data") / "data.npz"
    np.savez(path, images=random_images(10), labels=np.arange(10) % 3)
    return path

"""One tiny network, exported once for all tests that look at a bundle."""

from pathlib import Path

import pytest

from reefl_edge.bundles.bundle import Bundle
from reefl_edge.checkpoints.checkpoint import Checkpoint
from reefl_edge.models.arrays import arrays_of, random_network
from reefl_export.bundle import Origin, export_checkpoint
from reefl_export.recipe import stock
from tests.fakes.submodels import tiny_submodel


@pytest.fixture(scope="session")
def checkpoint() -> Checkpoint:
    """The arrays of a tiny network with two exits and class names."""
    network = random_network(tiny_submodel(num_blocks=2), seed=0)
    return Checkpoint(
        submodel=network.submodel, arrays=arrays_of(network), class_names=("a", "b", "c")
    )


@pytest.fixture(scope="session")
def cache_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of the tests' own."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _use_cache_home(cache_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REEFL_EDGE_HOME", str(cache_home))


@pytest.fixture(scope="session")
def bundle(
    checkpoint: Checkpoint, cache_home: Path, tmp_path_factory: pytest.TempPathFactory
) -> Bundle:
    """The network as a bundle of all formats."""
    folder = tmp_path_factory.mktemp("bundles") / "tiny"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REEFL_EDGE_HOME", str(cache_home))
        return export_checkpoint(
            checkpoint, folder, stock(), Origin(name="tiny", threshold=0.8)
        ).bundle

"""A checkpoint on disk, and a cache for what is exported from it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from reefl_edge.checkpoints.checkpoint import write_checkpoint
from reefl_edge.submodel import Submodel
from tests.fakes.networks import checkpoint_of, lively_network
from tests.fakes.submodels import tiny_submodel


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a checkpoint; no test changes it."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="session")
def submodel() -> Submodel:
    """Two blocks with an exit each, three classes."""
    return tiny_submodel(num_blocks=2)


@pytest.fixture(scope="session")
def checkpoint_path(home: Path, submodel: Submodel) -> Path:
    """A checkpoint of the sub-model."""
    write_checkpoint(checkpoint_of(lively_network(submodel)), home / "model.safetensors")
    return home / "model.safetensors"


@pytest.fixture(autouse=True, scope="session")
def _cache(home: Path) -> Iterator[None]:
    """Keep what is exported for all tests: a step that one has compiled, another takes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REEFL_EDGE_HOME", str(home / "cache"))
        yield

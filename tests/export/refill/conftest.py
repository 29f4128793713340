"""A tiny network as a bundle of ONNX in every precision."""

from pathlib import Path

import pytest

from reefl_edge.bundles.bundle import Bundle
from reefl_edge.checkpoints.checkpoint import Checkpoint
from tests.export.refill.exports import exported


@pytest.fixture(scope="session")
def onnx_bundle(
    checkpoint: Checkpoint, cache_home: Path, tmp_path_factory: pytest.TempPathFactory
) -> Bundle:
    """The network in four precisions, with an adaptive graph; no test changes it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REEFL_EDGE_HOME", str(cache_home))
        return exported(checkpoint, tmp_path_factory.mktemp("bundles") / "onnx")

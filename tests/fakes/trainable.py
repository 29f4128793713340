"""A bundle that answers and trains in onnxruntime alone, and images for it."""

from pathlib import Path

import numpy as np
import pytest

from reefl_edge.bundles.bundle import Bundle
from reefl_edge.checkpoints.checkpoint import Checkpoint
from reefl_edge.models.arrays import arrays_of
from reefl_export.bundle import Origin, export_checkpoint
from reefl_export.recipe import stock
from reefl_export.training import TrainingPlan
from tests.fakes.images import random_images
from tests.fakes.networks import lively_network
from tests.fakes.submodels import tiny_submodel


def trainable_bundle(folder: Path) -> Bundle:
    """Export ONNX segments and a compiled step of a tiny network, without the user's cache."""
    network = lively_network(tiny_submodel(num_blocks=2))
    checkpoint = Checkpoint(submodel=network.submodel, arrays=arrays_of(network))
    plan = TrainingPlan(regimes=("frozen",), batch_size=4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REEFL_EDGE_HOME", str(folder / "cache"))
        export_checkpoint(
            checkpoint, folder / "bundle", stock(["onnx"]), Origin(name="tiny"), training=plan
        )
    return Bundle.open(folder / "bundle")


def labelled_images(path: Path) -> Path:
    """Write ten labelled images; return where."""
    np.savez(path, images=random_images(10), labels=np.arange(10) % 3)
    return path

"""ONNX artifacts under the aarch64 onnxruntime that a Raspberry Pi runs: ``make test-arm64``."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from reefl_edge.bundles.artifacts import Precision
from reefl_edge.models.arrays import random_network
from reefl_edge.models.reefl import Classifier, ReeFL
from reefl_export.onnx.exporter import export_onnx
from reefl_export.recipe import recipe_for
from tests.arm64 import run_artifact
from tests.arm64.emulation import Emulator, missing_tools
from tests.fakes.exports import conversion_of
from tests.fakes.images import random_images
from tests.fakes.submodels import tiny_submodel

MISSING = missing_tools()
pytestmark = [
    pytest.mark.skipif(
        not os.environ.get("REEFL_EDGE_ARM64"), reason="emulates another machine: make test-arm64"
    ),
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}"),
]


@pytest.fixture(scope="module")
def emulator() -> Emulator:
    return Emulator()


@pytest.fixture(scope="module")
def network() -> ReeFL:
    network = random_network(tiny_submodel(num_blocks=2), seed=0)
    assert isinstance(network.classifier, Classifier)
    network.classifier.linear.weight.data *= 40  # so that some images stop early
    return network


# Of the logits' spread. An activation between two integers may go either way.
@pytest.mark.parametrize(
    ("precision", "tolerance"), [("fp32", 1e-5), ("int8-dynamic", 0.02), ("int8-static", 0.02)]
)
def test_an_artifact_answers_as_it_does_here(
    emulator: Emulator, network: ReeFL, tmp_path: Path, precision: Precision, tolerance: float
) -> None:
    recipe = replace(recipe_for("onnx", precision), adaptive_graph=True)
    export_onnx(conversion_of(network, tmp_path, recipe=recipe))
    images = random_images(6)
    np.save(tmp_path / "images.npy", images)
    arguments = (run_artifact.__file__, tmp_path, tmp_path / "images.npy")

    # In a process of its own: this one's sessions share a pool of threads.
    subprocess.run([sys.executable, *arguments, tmp_path / "here.npz"], check=True)
    emulator.run_python(*arguments, tmp_path / "arm64.npz")

    with np.load(tmp_path / "here.npz") as expected, np.load(tmp_path / "arm64.npz") as actual:
        assert actual["machine"] == "aarch64"
        assert set(actual) == set(expected)
        for name, array in expected.items():
            if "logits" in name:
                np.testing.assert_allclose(actual[name], array, atol=tolerance * array.std())
            elif "exits" in name:
                np.testing.assert_array_equal(actual[name], array)

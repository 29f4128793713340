"""Bundles of networks that were trained with adapters."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from reefl_edge.adaptive import AdaptiveSession
from reefl_edge.bundles.artifacts import Target
from reefl_edge.bundles.bundle import Bundle
from reefl_edge.checkpoints.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from reefl_edge.checkpoints.hashes import weights_sha256
from reefl_edge.models.arrays import arrays_of, network_from, random_network
from reefl_edge.regimes import Regime
from reefl_edge.runtimes.eager import EagerRuntime
from reefl_edge.submodel import Submodel
from reefl_export.bundle import ExportImages, Origin, export_checkpoint
from reefl_export.images import NamedImages
from reefl_export.parity.comparison import chain_logits
from reefl_export.recipe import recipe_for, stock
from tests.fakes.images import random_images
from tests.fakes.submodels import tiny_submodel


def adapted_checkpoint(regime: Regime) -> Checkpoint:
    """Two blocks whose adapters all do something."""
    network = random_network(tiny_submodel(num_blocks=2).with_regime(regime), seed=0)
    generator = np.random.default_rng(0)
    arrays = {
        name: array + 0.1 * generator.standard_normal(array.shape, np.float32)
        for name, array in arrays_of(network).items()
    }
    return Checkpoint(submodel=network.submodel, arrays=arrays)


@pytest.mark.parametrize("regime", ["lora", "ssf"])
def test_what_folds_becomes_a_plain_bundle_that_computes_the_same(
    regime: Regime, tmp_path: Path
) -> None:
    checkpoint = adapted_checkpoint(regime)

    bundle = export_checkpoint(
        checkpoint, tmp_path / "bundle", stock(["onnx"]), Origin(name="tiny")
    ).bundle

    stored = read_checkpoint(bundle.directory / "onnx" / "weights.safetensors")
    assert stored.submodel == bundle.manifest.submodel == checkpoint.submodel.folded()
    assert bundle.manifest.weights_sha256 == weights_sha256(stored.arrays)
    assert_same_logits(bundle, checkpoint)


@pytest.mark.parametrize(
    ("regime", "formats"),
    [
        ("parallel-adapter", ("onnx",)),
        ("serial-adapter", ("executorch", "coreml")),
    ],
)
def test_bottleneck_adapters_are_exported_as_they_are(
    regime: Regime, formats: tuple[Target, ...], tmp_path: Path
) -> None:
    checkpoint = adapted_checkpoint(regime)

    bundle = export_checkpoint(
        checkpoint, tmp_path / "bundle", stock(formats), Origin(name="tiny")
    ).bundle

    assert bundle.manifest.submodel == checkpoint.submodel
    if "onnx" in formats:
        assert_same_logits(bundle, checkpoint)


def test_layers_that_read_one_value_each_get_its_range(tmp_path: Path) -> None:
    checkpoint = adapted_checkpoint("parallel-adapter")  # beside the layers that it adapts
    calibration = NamedImages(name="noise", pixels=random_images(8))

    exported = export_checkpoint(
        checkpoint,
        tmp_path / "bundle",
        [recipe_for("onnx", "int8-static")],
        Origin(name="tiny"),
        images=ExportImages(calibration=calibration),
    )

    assert max(row.mean_error_share for row in exported.parity.rows) < 0.1


def assert_same_logits(bundle: Bundle, checkpoint: Checkpoint) -> None:
    submodel: Submodel = checkpoint.submodel
    network = network_from(submodel, checkpoint.arrays)
    images = random_images(3)
    expected = chain_logits(EagerRuntime(network, threads=1), images, num_exits=2)
    prediction = AdaptiveSession.open(bundle).predict(images)
    np.testing.assert_allclose(prediction.logits, expected[-1], atol=1e-5)


def test_folding_for_an_export_from_the_cache_needs_no_torch(
    tmp_path: Path, cache_home: Path
) -> None:
    checkpoint = adapted_checkpoint("lora")
    write_checkpoint(checkpoint, tmp_path / "lora.safetensors")
    export_checkpoint(checkpoint, tmp_path / "first", stock(["onnx"]), Origin(name="tiny"))
    script = (
        "import sys; from pathlib import Path\n"
        "from reefl_edge.checkpoints.checkpoint import read_checkpoint\n"
        "from reefl_export.bundle import Origin, export_checkpoint\n"
        "from reefl_export.recipe import stock\n"
        "checkpoint = read_checkpoint(Path('lora.safetensors'))\n"
        "export_checkpoint(checkpoint, Path('again'), stock(['onnx']), Origin(name='tiny'))\n"
        "assert 'torch' not in sys.modules\n"
    )
    environment = {**os.environ, "REEFL_EDGE_HOME": str(cache_home)}

    subprocess.run([sys.executable, "-c", script], check=True, cwd=tmp_path, env=environment)

    first, again = (Bundle.open(tmp_path / name).manifest for name in ("first", "again"))
    assert again.artifacts == first.artifacts

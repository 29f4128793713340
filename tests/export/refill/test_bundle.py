"""A bundle after an update: the one that an export of the updated model would be."""

from pathlib import Path

import pytest

from reefl_edge.bundles.bundle import Bundle
from reefl_edge.checkpoints.checkpoint import Checkpoint
from reefl_edge.checkpoints.update import apply_update
from reefl_edge.regimes import Regime
from reefl_export.refill.bundle import refill_bundle
from tests.export.refill.exports import CALIBRATION, exported
from tests.export.refill.updates import update_of


def contents(bundle: Bundle) -> dict[str, bytes]:
    """Return every file of a bundle's artifacts."""
    files = [file for artifact in bundle.manifest.artifacts for file in artifact.files]
    return {file.path: file.verified(bundle.directory).read_bytes() for file in files}


@pytest.mark.parametrize("regime", ["full", "frozen", "lora", "ssf"])
def test_it_is_byte_for_byte_what_an_export_makes(
    regime: Regime, checkpoint: Checkpoint, onnx_bundle: Bundle, tmp_path: Path
) -> None:
    update = update_of(checkpoint, regime)

    refilled = refill_bundle(onnx_bundle, update, tmp_path / "new", images=CALIBRATION)

    anew = exported(apply_update(checkpoint, update), tmp_path / "anew")
    assert contents(refilled.bundle) == contents(anew)
    assert refilled.left_out == ()
    said, expected = refilled.bundle.manifest, anew.manifest
    assert said.weights_sha256 == expected.weights_sha256
    assert said.thresholds == expected.thresholds
    assert Bundle.open(tmp_path / "new").manifest == said

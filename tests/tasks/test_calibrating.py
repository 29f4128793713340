"""What becomes of a bundle that changes while it is calibrated."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from reefl_edge import schema
from reefl_edge.bundles.bundle import Bundle
from reefl_edge.bundles.manifest import MANIFEST_NAME, Manifest
from reefl_edge.bundles.thresholds import ArtifactThresholds, Promise
from reefl_edge.checkpoints.checkpoint import read_checkpoint
from reefl_edge.errors import InputError
from reefl_edge.files import write_text
from reefl_edge.tasks.calibrating import CalibratedBundle, CalibrationRequest, calibrate_bundle
from reefl_edge.thresholds.calibrate import CalibrationPlan
from reefl_export.bundle import Origin, export_checkpoint
from reefl_export.recipe import stock
from tests.fakes.bundles import listed_artifact
from tests.fakes.images import random_images

OTHER = ArtifactThresholds(target="executorch", precision="fp32", thresholds=(0.7,))


@pytest.fixture
def bundle(checkpoint_path: Path, tmp_path: Path) -> Path:
    """A bundle with an artifact to calibrate, and another one."""
    checkpoint = read_checkpoint(checkpoint_path)
    export_checkpoint(checkpoint, tmp_path / "bundle", stock(["onnx"]), Origin(name="model"))
    change(
        tmp_path / "bundle",
        lambda found: replace(found, artifacts=(*found.artifacts, listed_artifact("executorch"))),
    )
    return tmp_path / "bundle"


def change(bundle: Path, changed: Callable[[Manifest], Manifest]) -> None:
    manifest = Bundle.open(bundle).manifest
    write_text(bundle / MANIFEST_NAME, schema.to_json(changed(manifest)))


def calibrated_while(bundle: Path, changed: Callable[[Manifest], Manifest]) -> CalibratedBundle:
    """Calibrate a bundle whose manifest changes after the images were run."""
    data = bundle.parent / "images.npy"
    np.save(data, random_images(40))
    promise = Promise(kind="max-disagreement", limit=0.99, confidence=0.9)
    request = CalibrationRequest(plan=CalibrationPlan(promise=promise), data=data, runtime="onnx")

    def on_step(done: int, total: int) -> None:
        if done == total:
            change(bundle, changed)

    return calibrate_bundle(bundle, request, on_step=on_step)


def test_what_another_calibration_writes_meanwhile_stays(bundle: Path) -> None:
    calibrated = calibrated_while(bundle, lambda found: found.with_entry(OTHER))

    assert {each.artifact for each in Bundle.open(bundle).manifest.thresholds} >= {
        "onnx-fp32",
        "executorch-fp32",
    }
    assert calibrated.bundle.manifest == Bundle.open(bundle).manifest
    assert OTHER in calibrated.bundle.manifest.thresholds
    assert calibrated.entry in calibrated.bundle.manifest.thresholds


@pytest.mark.parametrize(
    "changed",
    [
        lambda found: replace(found, weights_sha256="1" * 64),
        lambda found: replace(found, artifacts=found.artifacts[1:], thresholds=()),
    ],
    ids=["other weights", "without the artifact"],
)
def test_a_bundle_that_is_exported_again_meanwhile_is_not_certified(
    bundle: Path, changed: Callable[[Manifest], Manifest]
) -> None:
    with pytest.raises(InputError, match="exported again meanwhile; calibrate once more"):
        calibrated_while(bundle, changed)

    assert not any(each.certificate for each in Bundle.open(bundle).manifest.thresholds)

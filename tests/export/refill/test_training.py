"""Training steps of a bundle after an update: a hand-made section, since no exporter fills it."""

import shutil
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from reefl_edge import schema
from reefl_edge.array_files.safetensors import data_ranges
from reefl_edge.bundles.artifacts import BundleFile
from reefl_edge.bundles.bundle import Bundle
from reefl_edge.bundles.manifest import MANIFEST_NAME
from reefl_edge.bundles.training import StepArtifact, TrainingSection, TrainingStep
from reefl_edge.checkpoints.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from reefl_edge.checkpoints.hashes import base_sha256
from reefl_edge.checkpoints.update import apply_update
from reefl_edge.regimes import Regime, has_adapters
from reefl_export.refill.bundle import refill_bundle
from reefl_export.verification import verify
from tests.export.refill.updates import update_of

START = "training/lora.safetensors"
WEIGHTS = "onnx/weights.safetensors"
FROZEN = "blocks.0.attn.qkv.weight"


def step_graph(bundle: Path, weights: str) -> None:
    """Write the graph of a step that reads a frozen array from a file of the bundle."""
    offset, length = data_ranges(bundle / weights)[FROZEN]
    frozen = TensorProto(name=FROZEN, data_type=TensorProto.FLOAT, dims=[48, 16])
    frozen.data_location = TensorProto.EXTERNAL
    facts = {"location": f"../{weights}", "offset": offset, "length": length}
    for key, value in facts.items():
        frozen.external_data.add(key=key, value=str(value))
    graph = helper.make_graph([], "step", [], [], [frozen])
    path = bundle / "training" / "step.onnx"
    path.parent.mkdir(exist_ok=True)
    onnx.save(helper.make_model(graph), path)


def step(bundle: Path, checkpoint: Checkpoint, regime: Regime, reads: str) -> TrainingStep:
    submodel = checkpoint.submodel.with_regime(regime)
    paths = ("training/step.onnx", reads)
    files = tuple(BundleFile.of(bundle, bundle / path) for path in paths)
    return TrainingStep(
        submodel=submodel,
        base_sha256=base_sha256(checkpoint.arrays),
        start=BundleFile.of(bundle, bundle / START) if has_adapters(regime) else None,
        batch_size=8,
        signature=submodel.step_signature(),
        artifacts=(StepArtifact(target="onnx", delegate=None, toolchain={}, files=files),),
    )


def with_training(bundle: Bundle, folder: Path, checkpoint: Checkpoint, reads: str) -> Bundle:
    """Return a copy of a bundle that also trains LoRA, and what all exits share."""
    shutil.copytree(bundle.directory, folder)
    (folder / "training").mkdir()
    adapted = apply_update(checkpoint, update_of(checkpoint, "lora", seed=7))
    start = replace(adapted, arrays={**adapted.arrays, **checkpoint.arrays})
    write_checkpoint(start, folder / START)
    step_graph(folder, reads)
    section = TrainingSection(
        steps=tuple(step(folder, checkpoint, regime, reads) for regime in ("lora", "frozen"))
    )
    manifest = replace(bundle.manifest, training=section)
    (folder / MANIFEST_NAME).write_text(schema.to_json(manifest))
    return Bundle.open(folder)


def test_the_step_of_the_updates_regime_goes_on_from_the_arrays_before_folding(
    checkpoint: Checkpoint, onnx_bundle: Bundle, tmp_path: Path
) -> None:
    before = with_training(onnx_bundle, tmp_path / "before", checkpoint, START)
    update = update_of(checkpoint, "lora")

    refilled = refill_bundle(before, update, tmp_path / "new")

    expected = apply_update(checkpoint, update)
    section = refilled.bundle.manifest.training
    assert section is not None
    (kept,) = section.steps
    assert (kept.submodel.regime, kept.base_sha256) == ("lora", base_sha256(expected.arrays))
    start = read_checkpoint(tmp_path / "new" / START)
    assert start.submodel == expected.submodel
    assert start.arrays.keys() == expected.arrays.keys()
    assert all((start.arrays[name] == array).all() for name, array in expected.arrays.items())
    assert [each.what for each in refilled.left_out] == ["onnx-int8-static", "frozen training"]
    assert verify(refilled.bundle).problems == ()
    assert verify(refilled.bundle).foreign_files == ()

    again = refill_bundle(refilled.bundle, update_of(expected, "lora", seed=3), tmp_path / "more")
    assert again.bundle.manifest.training is not None


def test_a_step_that_reads_what_is_folded_now_is_left_out(
    checkpoint: Checkpoint, onnx_bundle: Bundle, tmp_path: Path
) -> None:
    before = with_training(onnx_bundle, tmp_path / "before", checkpoint, WEIGHTS)

    refilled = refill_bundle(before, update_of(checkpoint, "lora"), tmp_path / "new")

    assert refilled.bundle.manifest.training is None
    reasons = {each.what: each.reason for each in refilled.left_out}
    assert reasons["lora training"].startswith(f"it reads {FROZEN} from the weights of inference")
    assert not (tmp_path / "new" / "training").exists()


@pytest.mark.parametrize("reads", [WEIGHTS, START])
def test_a_step_without_adapters_goes_on_from_the_weights_of_inference(
    reads: str, checkpoint: Checkpoint, onnx_bundle: Bundle, tmp_path: Path
) -> None:
    before = with_training(onnx_bundle, tmp_path / "before", checkpoint, reads)

    refilled = refill_bundle(before, update_of(checkpoint, "frozen"), tmp_path / "new")

    section = refilled.bundle.manifest.training
    assert section is not None
    (kept,) = section.steps
    assert kept.submodel.regime == "frozen"
    assert kept.base_sha256 == refilled.bundle.manifest.weights_sha256
    assert verify(refilled.bundle).problems == ()

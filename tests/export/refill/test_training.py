"""Training steps of a bundle after an update: those that an export of the updated model has."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from reefl_edge.bundles.artifacts import BundleFile
from reefl_edge.bundles.bundle import Bundle
from reefl_edge.bundles.checkpoint import bundled_checkpoint
from reefl_edge.bundles.start import read_start
from reefl_edge.bundles.training import StepArtifact, TrainingSection, TrainingStep
from reefl_edge.checkpoints.checkpoint import Checkpoint
from reefl_edge.checkpoints.hashes import base_sha256
from reefl_edge.checkpoints.update import Update, apply_update
from reefl_edge.data.dataset import ArrayDataset
from reefl_edge.errors import InputError
from reefl_edge.finetune.client import train_client
from reefl_edge.finetune.compiled import StepperName
from reefl_edge.finetune.training import LocalTraining
from reefl_edge.regimes import Regime
from reefl_export.bundle import Origin, export_checkpoint
from reefl_export.recipe import stock
from reefl_export.refill.bundle import refill_bundle
from reefl_export.training import TrainingPlan
from reefl_export.verification import verify
from tests.export.refill.updates import update_of
from tests.fakes.images import random_images

REGIMES: tuple[Regime, ...] = ("lora", "ssf", "frozen")


def exported(checkpoint: Checkpoint, folder: Path, *regimes: Regime) -> Bundle:
    """Export a network to float32 ONNX, with training steps of two images."""
    plan = TrainingPlan(regimes=regimes, batch_size=2)
    return export_checkpoint(
        checkpoint, folder, stock(["onnx"]), Origin(name="tiny"), training=plan
    ).bundle


@pytest.fixture(scope="module")
def trainable(
    checkpoint: Checkpoint, cache_home: Path, tmp_path_factory: pytest.TempPathFactory
) -> Bundle:
    """The network as a bundle that trains three regimes; no test changes it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REEFL_EDGE_HOME", str(cache_home))
        return exported(checkpoint, tmp_path_factory.mktemp("bundles") / "trainable", *REGIMES)


def only_step(bundle: Bundle) -> TrainingStep:
    """Return the one training step that a bundle has."""
    assert bundle.manifest.training is not None
    (step,) = bundle.manifest.training.steps
    return step


def trained_from(source: Bundle | Checkpoint, regime: Regime, stepper: StepperName) -> Update:
    """Take two steps with a bundle's compiled step, or with PyTorch."""
    dataset = ArrayDataset(random_images(4), np.arange(4) % 3, ("a", "b", "c"), 16)
    training = LocalTraining(batch_size=2)
    return train_client(source, regime, dataset, training, stepper=stepper).update


@pytest.mark.parametrize("regime", REGIMES)
def test_the_step_is_byte_for_byte_the_one_that_an_export_makes(
    regime: Regime, checkpoint: Checkpoint, trainable: Bundle, tmp_path: Path
) -> None:
    update = update_of(checkpoint, regime)

    refilled = refill_bundle(trainable, update, tmp_path / "new")

    anew = exported(apply_update(checkpoint, update), tmp_path / "anew", regime)
    assert only_step(refilled.bundle) == only_step(anew)  # files by their hashes
    others = [f"{each} training" for each in REGIMES if each != regime]
    assert [each.what for each in refilled.left_out] == others
    assert f"the weights before this {regime} update" in refilled.left_out[0].reason
    assert verify(refilled.bundle).problems == ()
    assert verify(refilled.bundle).foreign_files == ()


@pytest.mark.parametrize("regime", REGIMES)
def test_training_goes_on_from_the_arrays_before_folding(
    regime: Regime, checkpoint: Checkpoint, trainable: Bundle, tmp_path: Path
) -> None:
    update = update_of(checkpoint, regime)

    refilled = refill_bundle(trainable, update, tmp_path / "new").bundle

    converted = apply_update(checkpoint, update)  # as ``convert MODEL --update``
    found = trained_from(refilled, regime, "onnx")
    expected = trained_from(converted, regime, "eager")
    assert found.submodel == expected.submodel
    assert found.provenance == expected.provenance
    for name, array in expected.arrays.items():
        np.testing.assert_allclose(found.arrays[name], array, atol=1e-5, err_msg=name)
    bias = "classifier.linear.bias"
    assert not np.array_equal(found.arrays[bias], update.arrays[bias])


def test_one_update_after_another_goes_into_what_was_trained(
    checkpoint: Checkpoint, trainable: Bundle, tmp_path: Path
) -> None:
    first = update_of(checkpoint, "lora")
    once = refill_bundle(trainable, first, tmp_path / "once").bundle
    second = trained_from(once, "lora", "onnx")

    twice = refill_bundle(once, second, tmp_path / "twice").bundle

    converted = apply_update(apply_update(checkpoint, first), second)
    start = read_start(twice, only_step(twice))
    assert start.submodel == converted.submodel
    assert start.arrays.keys() == converted.arrays.keys()
    for name, array in converted.arrays.items():
        np.testing.assert_array_equal(start.arrays[name], array)
    anew = exported(converted, tmp_path / "anew", "lora")
    assert twice.manifest.weights_sha256 == anew.manifest.weights_sha256


def test_an_update_that_was_trained_from_folded_weights_goes_into_these(
    checkpoint: Checkpoint, trainable: Bundle, tmp_path: Path
) -> None:
    once = refill_bundle(trainable, update_of(checkpoint, "lora"), tmp_path / "once").bundle
    folded = apply_update(checkpoint, update_of(checkpoint, "lora")).folded()
    update = update_of(folded, "lora", seed=5)

    twice = refill_bundle(once, update, tmp_path / "twice").bundle

    converted = apply_update(folded, update)
    start = read_start(twice, only_step(twice))
    assert base_sha256(start.arrays) == base_sha256(converted.arrays)


def test_where_nothing_of_the_updates_regime_is_compiled_no_training_is_left(
    checkpoint: Checkpoint, trainable: Bundle, tmp_path: Path
) -> None:
    refilled = refill_bundle(trainable, update_of(checkpoint, "full"), tmp_path / "new")

    assert refilled.bundle.manifest.training is None
    assert [each.what for each in refilled.left_out] == [f"{each} training" for each in REGIMES]
    assert {path.name for path in (tmp_path / "new").iterdir()} == {
        "manifest.json", "parity.json", "onnx",
    }  # fmt: skip


def test_a_graph_that_reads_what_is_no_array_of_the_model_is_refused(
    checkpoint: Checkpoint, tmp_path: Path
) -> None:
    bundle = exported(checkpoint, tmp_path / "bundle", "frozen")
    step = only_step(bundle)
    graph, weights = step.artifacts[0].files
    path = bundle.directory / graph.path
    path.write_bytes(path.read_bytes().replace(b"cls_token", b"cls_taken"))
    files = (BundleFile.of(bundle.directory, path), weights)
    edited = replace(step, artifacts=(replace(step.artifacts[0], files=files),))
    assert bundle.manifest.training is not None
    section = replace(bundle.manifest.training, steps=(edited,))
    manifest = replace(bundle.manifest, training=section)

    with pytest.raises(InputError, match="reads cls_taken, which is no array of the model"):
        refill_bundle(
            Bundle(bundle.directory, manifest), update_of(checkpoint, "frozen"), tmp_path / "new"
        )
    assert not (tmp_path / "new").exists()


def with_program(bundle: Bundle, regime: Regime, folder: Path) -> Bundle:
    """Copy a bundle with a compiled program of one regime's step beside its graph."""
    shutil.copytree(bundle.directory, folder)
    program = folder / f"train_{regime}.pte"
    program.write_bytes(b"what the regime does not train is compiled into this")
    training = bundle.manifest.training
    assert training is not None
    compiled = StepArtifact(
        target="executorch",
        delegate="xnnpack",
        toolchain={"executorch": "1.4.1"},
        files=(BundleFile.of(folder, program),),
    )
    steps = tuple(
        replace(step, artifacts=(*step.artifacts, compiled))
        if step.submodel.regime == regime
        else step
        for step in training.steps
    )
    return Bundle(folder, replace(bundle.manifest, training=TrainingSection(steps=steps)))


def test_a_compiled_program_goes_along_where_it_holds_what_is_not_trained(
    checkpoint: Checkpoint, trainable: Bundle, tmp_path: Path
) -> None:
    source = with_program(trainable, "lora", tmp_path / "source")

    refilled = refill_bundle(source, update_of(checkpoint, "lora"), tmp_path / "new").bundle

    program = only_step(refilled).artifact("executorch")
    assert program is not None
    (file,) = (file for file in program.files if file.path.endswith(".pte"))
    assert file.read(refilled.directory) == (source.directory / file.path).read_bytes()


def test_a_compiled_program_is_left_out_where_its_frozen_weights_are_no_more(
    checkpoint: Checkpoint, trainable: Bundle, tmp_path: Path
) -> None:
    once = refill_bundle(trainable, update_of(checkpoint, "lora"), tmp_path / "once").bundle
    source = with_program(once, "lora", tmp_path / "source")
    folded = bundled_checkpoint(once)[0]

    refilled = refill_bundle(source, update_of(folded, "lora"), tmp_path / "new")

    assert only_step(refilled.bundle).artifact("executorch") is None
    assert refilled.left_out[-1].what == "lora training in executorch"
    assert "compiled" in refilled.left_out[-1].reason

"""What a bundle says of how it trains: a LoRA step and one of what all exits share."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reefl_edge import schema
from reefl_edge.bundles.bundle import Bundle
from reefl_edge.bundles.manifest import Manifest
from reefl_edge.bundles.training import StepArtifact, TrainingSection, TrainingStep
from reefl_edge.submodel import Regime
from tests.fakes.bundles import listed_artifact, listed_file, tiny_manifest
from tests.fakes.submodels import tiny_submodel

SUBMODEL = tiny_submodel()
WEIGHTS = "onnx/weights.safetensors"


def step(regime: Regime, **changes: Any) -> TrainingStep:
    submodel = SUBMODEL.with_regime(regime)
    files = (listed_file(f"onnx/train_{regime}.onnx"), listed_file(WEIGHTS))
    onnx = StepArtifact(target="onnx", delegate=None, toolchain={"torch": "2.13.0"}, files=files)
    sound: dict[str, Any] = {
        "submodel": submodel,
        "base_sha256": "0" * 64,
        "start": listed_file("training/lora.safetensors") if regime == "lora" else None,
        "batch_size": 8,
        "signature": submodel.step_signature(),
        "artifacts": (onnx,),
    }
    return TrainingStep(**{**sound, **changes})


def manifest(*steps: TrainingStep) -> Manifest:
    inference = listed_artifact("onnx", "onnx/segment_0.onnx", WEIGHTS)
    return replace(tiny_manifest(inference), training=TrainingSection(steps=steps))


def test_a_manifest_that_trains_reads_as_it_was_written() -> None:
    described = manifest(step("lora"), step("frozen"))

    assert schema.from_json(Manifest, schema.to_json(described), source="manifest") == described


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"base_sha256": "abc"}, "what lora training starts from: 'abc' is no SHA-256"),
        ({"start": None}, "lora training lists no file of where its adapters start"),
        ({"batch_size": 0}, "from 1 to 4096 images, got 0"),
        ({"batch_size": 10**6}, "from 1 to 4096 images, got 1000000"),
        ({"signature": SUBMODEL.step_signature()}, "signature of lora training is not that of its"),
        ({"artifacts": ()}, "lora training lists no artifacts"),
        (
            {"artifacts": step("lora").artifacts * 2},
            "the onnx training step is listed more than once",
        ),
    ],
)
def test_a_step_that_cannot_be_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        step("lora", **changes)


def test_a_step_must_list_files_each_once() -> None:
    (artifact,) = step("frozen").artifacts

    with pytest.raises(ValueError, match="the onnx training step lists no files"):
        replace(artifact, files=())
    with pytest.raises(ValueError, match=r"weights\.safetensors is listed more than once"):
        replace(artifact, files=(listed_file(WEIGHTS), listed_file(WEIGHTS)))


def test_a_section_has_one_step_for_a_regime_and_at_least_one() -> None:
    with pytest.raises(ValueError, match="the training section lists no steps"):
        TrainingSection(steps=())
    with pytest.raises(ValueError, match="lora training is listed more than once"):
        TrainingSection(steps=(step("lora"), step("lora")))


def test_what_is_trained_is_what_the_bundle_infers_with() -> None:
    shallow = SUBMODEL.cut(0).with_regime("frozen")
    other = step("frozen", submodel=shallow, signature=shallow.step_signature())

    with pytest.raises(ValueError, match="frozen training is of another sub-model than inference"):
        manifest(other)


def test_the_files_of_training_are_the_bundles_own(tmp_path: Path) -> None:
    bundle = Bundle(tmp_path, manifest(step("lora")))
    for name in ("training/lora.safetensors", "onnx/train_lora.onnx", "training/notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")

    assert bundle.foreign_files() == ("training/notes.txt",)

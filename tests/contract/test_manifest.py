"""Manifests that every reader of bundles must take, and those that it must refuse.

The files in ``tests/golden/manifest`` are for readers in other languages, too. That the JSON Schema
is the code's, ``test_documents.py`` asks of every document.
"""

import shutil
from pathlib import Path

import pytest

from reefl_edge import schema
from reefl_edge.bundles.bundle import Bundle
from reefl_edge.errors import InputError

GOLDEN = Path(__file__).parents[1] / "golden" / "manifest"

# Why each invalid one is refused.
REFUSED = {
    "absolute-path": "'/etc/passwd' leads out of the bundle",
    "batch-sizes-0": "batch sizes must be at least 1, got (0,)",
    "certificate-edited": "thresholds of onnx-fp32 were edited after they were certified",
    "empty": "states no schema_version",
    "hash-too-short": "'abc' is no SHA-256",
    "max-exit-true": "submodel.max_exit: Input should be a valid integer",
    "no-artifacts": "lists no artifacts",
    "no-schema-version": "states no schema_version",
    "one-file-with-two-hashes": "onnx/weights.safetensors is listed with two sizes or hashes",
    "one-threshold-too-few": "2 thresholds for 4 exits: give one, or 3",
    "path-that-climbs": "'../segment_0.onnx' leads out of the bundle",
    "promise-edited": "thresholds of onnx-fp32 were edited after they were certified",
    "promise-of-everything": "max-drop is above 0 and below 100 points of accuracy, got 100",
    "schema-version-as-text": "schema_version is '3', not a whole number",
    "target-as-number": "artifacts.0.target: Input should be",
    "threshold-0": "a threshold must be above 0 and at most 1, got 0",
    "threshold-above-1": "a threshold must be above 0 and at most 1, got 1.5",
    "threshold-as-text": "thresholds.0.thresholds.0: Input should be a valid number",
    "threshold-beyond-float64": "not a finite number",
    "threshold-nan": "not a JSON file",
    "thresholds-of-absent-artifact": "executorch-fp32, which is not among the artifacts",
    "too-few-temperatures": "2 temperatures for 4 exits: give one per exit, or none",
    "training-batch-0": "from 1 to 4096 images, got 0",
    "training-signature-of-another-submodel": "signature of frozen training is not that of its",
    "training-twice-of-a-regime": "frozen training is listed more than once",
    "training-without-start": "lora training lists no file of where its adapters start",
    "unknown-measure": "measure: Input should be 'largest-softmax'",
    "unknown-regime": "submodel.regime: Input should be",
    "unknown-target": "artifacts.0.target: Input should be",
    "version-1": "schema version 1, older than 2, the oldest this reefl-edge reads",
    "version-2-threshold-0": "a threshold must be above 0 and at most 1, got 0",
    "version-99": "schema version 99, newer than 3",
}


def opened(path: Path, folder: Path) -> Bundle:
    shutil.copy(path, folder / "manifest.json")
    return Bundle.open(folder)


def test_every_golden_file_is_read_here() -> None:
    assert {path.stem for path in (GOLDEN / "invalid").iterdir()} == REFUSED.keys()
    assert {path.stem for path in (GOLDEN / "valid").iterdir()} == {
        "version-2",
        "version-3",
        "version-3-thresholds-per-exit",
        "version-3-training",
    }


@pytest.mark.parametrize("path", sorted((GOLDEN / "valid").iterdir()), ids=lambda path: path.stem)
def test_a_valid_manifest_opens_and_is_written_as_version_3(path: Path, tmp_path: Path) -> None:
    manifest = opened(path, tmp_path).manifest

    assert manifest.schema_version == 3
    (tmp_path / "manifest.json").write_text(schema.to_json(manifest))
    assert Bundle.open(tmp_path).manifest == manifest


@pytest.mark.parametrize(("name", "message"), REFUSED.items())
def test_an_invalid_manifest_is_refused_in_one_line(
    name: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError) as refused:
        opened(GOLDEN / "invalid" / f"{name}.json", tmp_path)

    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_the_threshold_of_version_2_holds_for_every_artifact(tmp_path: Path) -> None:
    manifest = opened(GOLDEN / "valid" / "version-2.json", tmp_path).manifest

    assert [artifact.name for artifact in manifest.artifacts] == ["onnx-fp32", "executorch-fp32"]
    assert [manifest.thresholds_for(artifact) for artifact in manifest.artifacts] == [(0.8,)] * 2
    assert manifest.training is None


def test_the_golden_training_section_says_where_adapters_start(tmp_path: Path) -> None:
    training = opened(GOLDEN / "valid" / "version-3-training.json", tmp_path).manifest.training

    assert training is not None
    lora, frozen = training.steps
    assert lora.start is not None
    assert (lora.start.path, frozen.start) == ("training/lora.safetensors", None)
    assert [artifact.target for artifact in lora.artifacts] == ["onnx", "executorch"]

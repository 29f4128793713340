"""``reefl-edge calibrate``: thresholds with a certificate in the manifest."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reefl_edge.bundles.bundle import Bundle
from tests.cli.conftest import Type
from tests.fakes.images import random_images


@pytest.fixture
def bundle(home: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(home / "bundle", tmp_path / "bundle"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """80 images with labels."""
    path = tmp_path_factory.mktemp("data") / "val.npz"
    np.savez(path, images=random_images(80), labels=np.arange(80) % 3)
    return path


def entry(bundle: Path) -> Any:
    (found,) = json.loads((bundle / "manifest.json").read_text())["thresholds"]
    return found


# Two exits of random weights: a generous promise is one they keep.
GENEROUS = ("--max-disagreement", 0.9)


def test_thresholds_and_certificate_go_into_the_manifest_and_infer_says_the_promise(
    type_command: Type, bundle: Path, data: Path, home: Path
) -> None:
    before = {path: path.read_bytes() for path in bundle.rglob("*") if path.is_file()}

    typed = type_command("calibrate", bundle, "--data", data, *GENEROUS, "--json")

    assert typed.exit_code == 0, typed.stderr
    found = entry(bundle)
    assert typed.document["entry"] == found
    certificate = found["certificate"]
    assert certificate["promise"] == {"kind": "max-disagreement", "limit": 0.9, "confidence": 0.95}
    assert (certificate["bound"], certificate["num_images"]) == ("binomial", 80)
    assert certificate["weights_sha256"] == Bundle.open(bundle).manifest.weights_sha256
    assert typed.document["found"]["exit_shares"][0] > 0
    changed = {path for path, content in before.items() if path.read_bytes() != content}
    assert changed == {bundle / "manifest.json"}
    evaluating = f"evaluate {bundle} --data TEST --runtime onnx --precision fp32"
    assert f"next: reefl-edge {evaluating}" in typed.stderr
    inferred = type_command("infer", bundle, home / "first.png", "--json").document
    assert inferred["promise"] == certificate["promise"]
    assert inferred["thresholds"] == found["thresholds"]
    shown = type_command("infer", bundle, home / "first.png").stdout
    assert "at most 0.9 of the answers differ from the deepest exit's (0.95 sure)" in shown


def test_a_threshold_of_the_users_own_promises_nothing(
    type_command: Type, bundle: Path, data: Path, home: Path
) -> None:
    type_command("calibrate", bundle, "--data", data, *GENEROUS)

    typed = type_command("infer", bundle, home / "first.png", "--threshold", 0.4, "--json")
    eager = type_command("infer", bundle, home / "first.png", "--runtime", "eager", "--json")

    assert typed.document["promise"] is None
    assert eager.document["promise"] is None
    assert eager.document["thresholds"] == entry(bundle)["thresholds"]


def test_thresholds_per_exit_and_temperatures_are_written_and_obeyed(
    type_command: Type, bundle: Path, data: Path, home: Path
) -> None:
    options = ("--per-exit", "--temperature")
    # Tempered, random weights are sure of nothing: what they stop is all or none.
    typed = type_command("calibrate", bundle, "--data", data, "--max-mean-ms", 1e4, *options)

    assert typed.exit_code == 0, typed.stderr
    found = entry(bundle)
    assert (len(found["thresholds"]), len(found["temperatures"])) == (1, 2)
    assert found["certificate"]["num_images"] == 53  # the rest after a third
    inferred = type_command("infer", bundle, home / "first.png", "--json").document
    assert inferred["temperatures"] == found["temperatures"]


def test_the_same_images_in_another_order_and_format_have_the_same_identity(
    type_command: Type, bundle: Path, data: Path, tmp_path: Path
) -> None:
    with np.load(data) as arrays:
        np.save(tmp_path / "turned.npy", arrays["images"][::-1])
    type_command("calibrate", bundle, "--data", data, *GENEROUS)
    first = entry(bundle)["certificate"]["images_sha256"]

    typed = type_command("calibrate", bundle, "--data", tmp_path / "turned.npy", *GENEROUS)

    assert typed.exit_code == 0, typed.stderr
    assert entry(bundle)["certificate"]["images_sha256"] == first


def test_a_promise_of_time_holds_the_times_it_was_made_with(
    type_command: Type, bundle: Path, data: Path, home: Path
) -> None:
    typed = type_command("calibrate", bundle, "--data", data, "--max-mean-ms", 1e4, "--json")

    assert typed.exit_code == 0, typed.stderr
    assert entry(bundle)["certificate"]["exit_ms"] == typed.document["exit_ms"]
    assert len(typed.document["exit_ms"]) == 2
    shown = " ".join(type_command("infer", bundle, home / "first.png").stdout.split())
    assert "ms an image on average (0.95 sure), by the exit times it was calibrated with" in shown


def test_a_promise_that_cannot_be_certified_is_exit_code_6_and_changes_nothing(
    type_command: Type, bundle: Path, data: Path
) -> None:
    before = (bundle / "manifest.json").read_bytes()

    typed = type_command("calibrate", bundle, "--data", data, "--max-disagreement", 0.001)

    assert typed.exit_code == 6
    assert "80 images certify no early stop for max-disagreement 0.001" in typed.stderr
    assert "these can keep max-disagreement 0." in typed.stderr
    assert (bundle / "manifest.json").read_bytes() == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "make one promise: --max-drop, --max-disagreement, --max-mean-ms"),
        (("--max-drop", 1, "--max-mean-ms", 3), "make one promise"),
        (("--max-drop", 0), "max-drop is above 0 and below 100 points of accuracy, got 0"),
        (("--max-disagreement", 2), "above 0 and below 1 of all answers, got 2"),
        (("--max-mean-ms", -1), "max-mean-ms is above 0 and finite, got -1"),
        (("--max-drop", 1, "--confidence", 1), "it lies between 0 and 1, got 1"),
        (("--max-drop", 1, "--measure", "margn"), "did you mean margin?"),
        (("--max-mean-ms", 3, "--bound", "binomial"), "counts answers, and max-mean-ms is about"),
        (("--max-drop", 1, "--runtime", "eager"), "certified for an artifact, and eager runs none"),
    ],
)
def test_a_promise_that_cannot_be_meant_is_a_usage_error(
    type_command: Type, bundle: Path, data: Path, options: tuple[object, ...], message: str
) -> None:
    typed = type_command("calibrate", bundle, "--data", data, *options)

    assert typed.exit_code == 2
    assert message in " ".join(typed.stderr.split()).replace("│ ", "")


def refused(type_command: Type, bundle: Path, data: Path, *options: object) -> str:
    typed = type_command("calibrate", bundle, "--data", data, *(options or ("--max-drop", 5)))
    assert typed.exit_code == 3, typed.stderr
    (line,) = [line for line in typed.stderr.splitlines() if line.startswith("error: ")]
    return line


def test_labels_that_are_needed_and_missing_are_asked_for(
    type_command: Type, bundle: Path, tmp_path: Path
) -> None:
    np.savez(tmp_path / "bare.npz", images=random_images(20))

    for options, who in (
        (("--max-drop", 5), "--max-drop, unlike --max-disagreement,"),
        ((*GENEROUS, "--temperature"), "--temperature"),
    ):
        line = refused(type_command, bundle, tmp_path / "bare.npz", *options)
        assert f"holds images without labels, which {who} needs: give a labelled dataset" in line
    typed = type_command("calibrate", bundle, "--data", tmp_path / "bare.npz", *GENEROUS)
    assert typed.exit_code == 0, typed.stderr


def test_labels_of_other_classes_are_refused_where_they_count(
    type_command: Type, bundle: Path, tmp_path: Path
) -> None:
    images, names = random_images(20), np.array(["ant", "bee", "dragon"])
    np.savez(tmp_path / "other.npz", images=images, labels=np.arange(20) % 3, class_names=names)
    np.savez(tmp_path / "beyond.npz", images=images, labels=np.arange(20) % 4)

    other = refused(type_command, bundle, tmp_path / "other.npz")
    assert "the model has no class called 'dragon', only 'ant', 'bee', 'cat'" in other
    beyond = refused(type_command, bundle, tmp_path / "beyond.npz")
    assert "labels run from 0 to 3, but there are 3 classes" in beyond
    by_answers = type_command("calibrate", bundle, "--data", tmp_path / "other.npz", *GENEROUS)
    assert by_answers.exit_code == 0, by_answers.stderr


def test_a_single_class_and_a_single_image_are_refused(
    type_command: Type, bundle: Path, tmp_path: Path
) -> None:
    np.savez(tmp_path / "ants.npz", images=random_images(20), labels=np.zeros(20, int))
    np.save(tmp_path / "one.npy", random_images(1))

    assert "holds one class only, 'ant'" in refused(type_command, bundle, tmp_path / "ants.npz")
    one = refused(type_command, bundle, tmp_path / "one.npy", *GENEROUS)
    assert "holds one image, which certifies nothing" in one


def test_an_artifact_that_cannot_run_here_is_named(
    type_command: Type, bundle: Path, data: Path
) -> None:
    line = refused(type_command, bundle, data, "--max-drop", 5, "--precision", "int8-dynamic")
    assert "has no int8-dynamic artifact that runs here" in line
    line = refused(type_command, bundle, data, "--max-drop", 5, "--runtime", "executorch")
    assert "has no executorch artifact, only onnx-fp32" in line


def test_a_certificate_that_was_edited_by_hand_is_refused(
    type_command: Type, bundle: Path, data: Path, home: Path
) -> None:
    type_command("calibrate", bundle, "--data", data, *GENEROUS)
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["thresholds"][0]["thresholds"] = [0.123]
    (bundle / "manifest.json").write_text(json.dumps(manifest))

    typed = type_command("infer", bundle, home / "first.png")

    assert typed.exit_code == 3
    assert "thresholds of onnx-fp32 were edited after they were certified" in typed.stderr
    assert "set their certificate to null and run reefl-edge calibrate" in typed.stderr
    manifest["thresholds"][0]["certificate"] = None
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    assert type_command("infer", bundle, home / "first.png").exit_code == 0


def test_a_certificate_for_other_weights_is_told_and_promises_nothing(
    type_command: Type, bundle: Path, data: Path, home: Path
) -> None:
    type_command("calibrate", bundle, "--data", data, *GENEROUS)
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["weights_sha256"] = "1" * 64
    (bundle / "manifest.json").write_text(json.dumps(manifest))

    inferred = type_command("infer", bundle, home / "first.png", "--json")
    parity = type_command("parity", bundle)

    assert inferred.document["promise"] is None
    for typed in (inferred, parity):
        assert "the thresholds of onnx-fp32 were certified for weights" in typed.stderr


def test_a_report_of_another_network_or_without_the_exits_is_refused(
    type_command: Type, bundle: Path, data: Path
) -> None:
    golden = Path(__file__).parents[1] / "golden" / "report" / "valid" / "chosen.json"

    line = refused(type_command, bundle, data, *GENEROUS, "--report", golden)

    assert "is of another network" in line

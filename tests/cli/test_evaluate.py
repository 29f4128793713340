"""``reefl-edge evaluate``: exits, stops, and artifacts side by side."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.cli.conftest import Type
from tests.fakes.images import random_images


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 images with labels."""
    path = tmp_path_factory.mktemp("data") / "test.npz"
    np.savez(path, images=random_images(40), labels=np.arange(40) % 3)
    return path


@pytest.fixture
def bundle(home: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(home / "bundle", tmp_path / "bundle"))


def test_every_exit_is_judged_and_the_bundle_where_it_stops(
    type_command: Type, home: Path, data: Path, tmp_path: Path
) -> None:
    typed = type_command(
        *("evaluate", home / "bundle", "--data", data, "--num-timed", 10, "--json"),
        *("-o", tmp_path / "evaluation.json"),
    )

    assert typed.exit_code == 0, typed.stderr
    (found,) = typed.document["evaluations"]
    assert typed.document["comparisons"] == []
    assert json.loads((tmp_path / "evaluation.json").read_text()) == typed.document
    assert len(found["exits"]) == 2
    assert found["exit_shares"] == [0, 1]  # without thresholds, never early
    assert found["accuracy"] == found["exits"][1]["accuracy"]
    assert (found["accuracy_change"], found["disagreement"]) == (0, 0)
    assert (found["num_images"], found["num_timed"]) == (40, 10)
    assert found["mean_ms"] == found["deepest_mean_ms"] > found["exits"][0]["mean_ms"]
    shares = [found["class_accuracy"][name] for name in ("ant", "bee", "cat")]
    assert np.average(shares, weights=[14, 13, 13]) == pytest.approx(found["accuracy"])
    wrong = sum(each["num_images"] for each in found["confusions"])
    assert wrong == round(40 * (1 - found["accuracy"]))
    for each in found["exits"]:
        assert sum(part["num_examples"] for part in each["reliability"]) == 40
        assert 0 <= each["calibration_error"] <= 1
        assert each["tempered_calibration_error"] is None


def test_what_was_calibrated_is_judged_by_its_thresholds_and_the_same_images_are_told(
    type_command: Type, bundle: Path, data: Path
) -> None:
    promise = ("--max-mean-ms", 1e4, "--temperature")
    calibrated = type_command("calibrate", bundle, "--data", data, *promise)
    assert calibrated.exit_code == 0, calibrated.stderr

    typed = type_command("evaluate", bundle, "--data", data, "--num-timed", 5, "--json")

    assert typed.exit_code == 0, typed.stderr
    (found,) = typed.document["evaluations"]
    assert found["promise"] == {"kind": "max-mean-ms", "limit": 1e4, "confidence": 0.95}
    assert found["are_calibration_images"]
    assert "was calibrated on these very images" in typed.stderr
    assert all(each["tempered_calibration_error"] is not None for each in found["exits"])


def test_a_bundle_is_no_better_than_itself(
    type_command: Type, home: Path, bundle: Path, data: Path
) -> None:
    typed = type_command(
        "evaluate", home / "bundle", bundle, "--data", data, "--num-timed", 5, "--json"
    )
    shown = type_command("evaluate", home / "bundle", bundle, "--data", data, "--num-timed", 5)

    (found,) = typed.document["comparisons"]
    assert (found["accuracy_change"], found["accuracy_change_interval"]) == (0, [0, 0])
    assert "these images do not tell them apart" in shown.stdout


def test_the_picture_is_a_png_beside_nothing_else(
    type_command: Type, home: Path, data: Path, tmp_path: Path
) -> None:
    picture = tmp_path / "evaluation.png"

    typed = type_command(
        *("evaluate", home / "bundle", "--data", data, "--num-timed", 5, "--picture", picture)
    )

    assert typed.exit_code == 0, typed.stderr
    with Image.open(picture) as opened:
        assert opened.format == "PNG"
    assert list(tmp_path.iterdir()) == [picture]


def test_images_without_labels_or_of_one_class_are_refused(
    type_command: Type, home: Path, tmp_path: Path
) -> None:
    np.save(tmp_path / "bare.npy", random_images(4))

    typed = type_command("evaluate", home / "bundle", "--data", tmp_path / "bare.npy")

    assert typed.exit_code == 3
    assert (
        "holds images without labels, which evaluate needs: give a labelled dataset" in typed.stderr
    )

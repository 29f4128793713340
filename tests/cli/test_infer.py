"""``reefl-edge infer``."""

import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from reefl_edge.errors import InputError
from tests.cli.conftest import Type


def test_every_image_gets_a_label_a_confidence_an_exit_and_a_latency(
    type_command: Type, home: Path
) -> None:
    typed = type_command("infer", home / "bundle", home / "first.png", home / "data.npz", "--json")

    assert typed.exit_code == 0
    predictions = typed.document["predictions"]
    assert len(predictions) == 13
    assert predictions[0]["input"].endswith("first.png")
    assert predictions[1]["input"].endswith("data.npz[0]")
    for row in predictions:
        assert row["label"] in ("ant", "bee", "cat")
        assert 1 / 3 < row["confidence"] <= 1
        assert row["exit_index"] == 1  # without a threshold, always the deepest
        assert row["latency_ms"] > 0
    # The same picture as a file and as an array.
    assert predictions[0]["confidence"] == pytest.approx(predictions[1]["confidence"], abs=1e-6)


def test_a_low_threshold_stops_at_the_first_exit(type_command: Type, home: Path) -> None:
    typed = type_command(
        "infer", home / "bundle", home / "first.png", "--threshold", "0.2", "--json"
    )

    assert [row["exit_index"] for row in typed.document["predictions"]] == [0]


def test_an_image_is_answered_the_same_alone_and_among_many(type_command: Type, home: Path) -> None:
    alone = type_command("infer", home / "bundle", home / "first.png", "--json")
    # In a process of its own: there each core computes by itself.
    paths = map(str, (home / "bundle", *[home / "first.png"] * 64))
    command = [sys.executable, "-m", "reefl_edge", "infer", *paths, "--json"]
    shown = subprocess.run(command, stdout=subprocess.PIPE, check=True)

    (expected,) = alone.document["predictions"]
    rows = json.loads(shown.stdout)["predictions"]
    assert len(rows) == 64
    for row in rows:
        assert row["label"] == expected["label"]
        assert row["confidence"] == pytest.approx(expected["confidence"], abs=1e-5)


def test_the_eager_runtime_agrees(type_command: Type, home: Path) -> None:
    rows = [
        type_command("infer", home / "bundle", home / "first.png", "--runtime", name, "--json")
        for name in ("onnx", "eager")
    ]

    first, second = (typed.document["predictions"][0]["confidence"] for typed in rows)
    assert first == pytest.approx(second, abs=1e-5)


def test_an_unreadable_image_is_named_and_the_rest_go_on(type_command: Type, home: Path) -> None:
    typed = type_command("infer", home / "bundle", home, "--json")

    assert typed.exit_code == 3
    assert len(typed.document["predictions"]) == 2
    assert "broken.png: not a readable image" in typed.document["failures"][0]["error"]
    assert "1 of 3 inputs could not be read" in typed.stderr


def write_hard_inputs(folder: Path) -> dict[str, str]:
    """Write files that are no images or not what they say, and return why each is refused."""
    Image.fromarray(np.zeros((4, 4), np.int32)).save(folder / "a_integers.tif")
    Image.fromarray(np.zeros((4, 4), np.float32)).save(folder / "b_floats.tiff")
    picture = io.BytesIO()
    Image.new("RGB", (32, 32), "red").save(picture, "AVIF")
    content = picture.getvalue()
    (folder / "c_damaged.avif").write_bytes(content[: len(content) // 2] + bytes(9))
    (folder / "d_loop.jfif").symlink_to(folder / "d_loop.jfif")
    Image.new("RGB", (4, 4)).save(folder / "e_drawing.png", "EPS")
    os.mkfifo(folder / "f_pipe.png")
    return {
        "a_integers.tif": "not of 8 or 16 bits",
        "b_floats.tiff": "not of 8 or 16 bits",
        "c_damaged.avif": "not a readable image",
        "d_loop.jfif": "too many levels of symbolic links",
        "e_drawing.png": "it is EPS",
        "f_pipe.png": "is no regular file",
    }


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no FIFOs")
def test_each_unreadable_input_is_one_line_and_the_rest_go_on(
    type_command: Type, home: Path, tmp_path: Path
) -> None:
    expected = write_hard_inputs(tmp_path)
    header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (1000000000000,)}"
    lying = tmp_path / "g_lying.npy"
    lying.write_bytes(b"\x93NUMPY\1\0" + len(header).to_bytes(2, "little") + header + b"abc")
    shutil.copy(home / "first.png", tmp_path / "z_last.png")

    typed = type_command("infer", home / "bundle", lying, tmp_path, home / "second.png", "--json")

    assert typed.exit_code == 3
    assert [Path(row["input"]).name for row in typed.document["predictions"]] == [
        "z_last.png",
        "second.png",
    ]
    failures = {Path(row["input"]).name: row["error"] for row in typed.document["failures"]}
    expected["g_lying.npy"] = "is 1000000000000 bytes, it holds 3"
    assert failures.keys() == expected.keys()
    for name, reason in expected.items():
        assert reason in failures[name]
        assert "\n" not in failures[name]


def test_an_empty_folder_does_not_keep_the_rest_from_going_on(
    type_command: Type, home: Path, tmp_path: Path
) -> None:
    typed = type_command("infer", home / "bundle", tmp_path, home / "first.png", "--json")

    assert typed.exit_code == 3
    assert len(typed.document["predictions"]) == 1
    assert "no images in" in typed.document["failures"][0]["error"]


def test_a_turned_photograph_is_classified_as_it_is_looked_at(
    type_command: Type, home: Path, tmp_path: Path
) -> None:
    with Image.open(home / "first.png") as first:
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = 6  # to be turned clockwise when it is shown
        first.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=exif)

    typed = type_command(
        "infer", home / "bundle", home / "first.png", tmp_path / "turned.png", "--json"
    )

    upright, turned = (row["confidence"] for row in typed.document["predictions"])
    assert turned == pytest.approx(upright, abs=1e-6)


@pytest.mark.parametrize("name", ["missing.png", "missing.npz"])
def test_a_missing_input_is_named_and_the_rest_go_on(
    type_command: Type, home: Path, name: str
) -> None:
    typed = type_command("infer", home / "bundle", home / name, home / "first.png", "--json")

    assert typed.exit_code == 3
    assert len(typed.document["predictions"]) == 1
    assert f"{name}: no such file" in typed.document["failures"][0]["error"]


def test_a_folder_without_images_says_so(type_command: Type, home: Path, tmp_path: Path) -> None:
    typed = type_command("infer", home / "bundle", tmp_path)

    assert typed.exit_code == 3
    assert "no images in" in typed.stderr


def test_a_single_image_array_may_come_without_a_batch_axis(
    type_command: Type, home: Path, tmp_path: Path
) -> None:
    np.save(tmp_path / "one.npy", np.zeros((16, 16, 3), np.uint8))

    typed = type_command("infer", home / "bundle", tmp_path / "one.npy", "--json")

    assert len(typed.document["predictions"]) == 1


@pytest.mark.parametrize(
    ("arguments", "exit_code", "message"),
    [
        (("--threshold", "1.5"), 2, "above 0 and at most 1, got 1.5"),
        (("--threshold", "0"), 2, "above 0 and at most 1, got 0"),
        (("--threshold", "high"), 2, "could not convert"),
        (("--threshold", "0.5,0.5"), 2, "2 thresholds for 2 exits: give one, or 1"),
        (("--runtime", "onx"), 2, "did you mean onnx?"),
        (("--runtime", "executorch"), 3, "has no executorch artifact, only onnx"),
        (("--runtime", "eager", "--precision", "fp16"), 2, "'--precision': the eager runtime"),
        (("--batch-size", "0"), 2, "'--batch-size': "),
        (("--threads", "1000"), 2, "'--threads': threads must be from 1 to"),
        (("--threads", str(10**20)), 2, "'--threads': threads must be from 1 to"),
    ],
)
def test_bad_options_are_refused(
    type_command: Type, home: Path, arguments: tuple[str, ...], exit_code: int, message: str
) -> None:
    typed = type_command("infer", home / "bundle", home / "first.png", *arguments)

    assert typed.exit_code == exit_code
    assert message in " ".join(typed.stderr.split())
    assert not typed.stdout


def test_a_changed_bundle_is_refused(type_command: Type, home: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(home / "bundle", tmp_path / "bundle")
    with (folder / "onnx" / "weights.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x01")

    typed = type_command("infer", folder, home / "first.png")

    assert typed.exit_code == 3
    assert "its hash differs" in typed.stderr


def test_changed_weights_are_told_before_whatever_the_runtime_makes_of_them(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, type_command: Type
) -> None:
    folder = shutil.copytree(home / "bundle", tmp_path / "bundle")
    weights = folder / "onnx" / "weights.safetensors"
    weights.write_bytes(b"\xff" * weights.stat().st_size)

    def refuse(graph: Path, **_: object) -> None:
        raise InputError(f"cannot load {graph}")

    monkeypatch.setattr("reefl_edge.runtimes.onnx._session", refuse)

    typed = type_command("infer", folder, home / "first.png")

    assert typed.exit_code == 3
    assert "its hash differs" in typed.stderr
    assert not typed.stdout


def edit_manifest(home: Path, folder: Path, **changes: object) -> Path:
    """Return a copy of the bundle whose manifest says something else."""
    copy = shutil.copytree(home / "bundle", folder / "bundle")
    document = json.loads((copy / "manifest.json").read_text())
    (copy / "manifest.json").write_text(json.dumps({**document, **changes}))
    return copy


@pytest.mark.parametrize("runtime", ["onnx", "eager"])
def test_a_manifest_with_other_class_names_is_refused(
    type_command: Type, home: Path, tmp_path: Path, runtime: str
) -> None:
    folder = edit_manifest(home, tmp_path, class_names=["bee", "ant", "cat"])

    typed = type_command("infer", folder, home / "first.png", "--runtime", runtime)

    assert typed.exit_code == 3
    assert "manifest.json says class_names.0 'bee'" in typed.stderr
    assert not typed.stdout


def test_a_threshold_in_the_manifest_is_not_blamed_on_an_option(
    type_command: Type, home: Path, tmp_path: Path
) -> None:
    entry = {"target": "onnx", "precision": "fp32", "thresholds": [2]}
    folder = edit_manifest(home, tmp_path, thresholds=[entry])

    typed = type_command("infer", folder, home / "first.png")

    assert typed.exit_code == 3
    assert "manifest.json: " in typed.stderr
    assert "a threshold must be above 0 and at most 1, got 2" in typed.stderr
    assert "--" not in typed.stderr


def test_nothing_is_written_outside_the_cache_folder(home: Path, tmp_path: Path) -> None:
    """Onnxruntime's telemetry writes into the home folder unless it is told not to."""
    empty = tmp_path / "home"
    empty.mkdir()
    script = (
        "from reefl_edge.cli import app\n"
        f"app(['infer', {str(home / 'bundle')!r}, {str(home / 'first.png')!r}, '--json'])\n"
    )
    unset = ("ORT_DISABLE_TELEMETRY", "REEFL_EDGE_HOME")
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in unset and not name.startswith("XDG_")
    }
    environment = {**kept, "HOME": str(empty), "REEFL_EDGE_HOME": str(tmp_path / "cache")}
    before = set(home.rglob("*"))

    ran = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, check=False
    )

    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["predictions"]
    assert list(empty.rglob("*")) == []
    assert set(home.rglob("*")) == before


@pytest.mark.parametrize(("theirs", "kept"), [(None, "1"), ("0", "0")])
def test_the_users_word_on_telemetry_stands(theirs: str | None, kept: str) -> None:
    script = "import os, reefl_edge.runtimes.onnx; print(os.environ['ORT_DISABLE_TELEMETRY'])\n"
    environment = {
        name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"
    }
    if theirs is not None:
        environment["ORT_DISABLE_TELEMETRY"] = theirs

    ran = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    )

    assert ran.stdout.strip() == kept


def test_a_folder_that_is_no_bundle_is_refused(type_command: Type, home: Path) -> None:
    typed = type_command("infer", home, home / "first.png")

    assert typed.exit_code == 3
    assert "is not a bundle" in typed.stderr

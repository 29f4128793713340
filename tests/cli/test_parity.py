"""``reefl-edge parity``."""

import json
import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import Type


def test_every_artifact_is_compared_with_the_weights_in_the_bundle(
    type_command: Type, home: Path, tmp_path: Path
) -> None:
    typed = type_command(
        "parity", home / "bundle", "--data", home / "data.npz", "--num-images", 8,
        "--threshold", 0.4, "-o", tmp_path / "report.json", "--json",
    )  # fmt: skip

    assert typed.exit_code == 0
    assert (typed.document["images"], typed.document["num_images"]) == ("data.npz", 8)
    assert [row["exit_index"] for row in typed.document["rows"]] == [0, 1]
    assert all(row["max_abs_error"] < 1e-4 for row in typed.document["rows"])
    assert all(row["exit_agreement"] == 1 for row in typed.document["rows"])
    assert json.loads((tmp_path / "report.json").read_text()) == typed.document


def test_a_gate_that_is_not_met_is_an_exit_code_of_six(type_command: Type, home: Path) -> None:
    typed = type_command("parity", home / "bundle", "--max-error", 0)

    assert typed.exit_code == 6
    assert "onnx-fp32 differs from the network at exit 0" in typed.stderr
    assert "differs" in typed.stdout  # the table is printed all the same


def test_another_model_is_told_from_the_one_exported(
    type_command: Type, home: Path, tmp_path: Path
) -> None:
    type_command("finetune", home / "model.safetensors", "--data", home / "data.npz", "--lr", 0.5,
                 "-o", tmp_path / "update.safetensors")  # fmt: skip
    type_command("export", home / "model.safetensors", "--update", tmp_path / "update.safetensors",
                 "--format", "onnx", "-o", tmp_path / "tuned")  # fmt: skip

    typed = type_command("parity", home / "bundle", "--model", tmp_path / "tuned")

    assert typed.exit_code == 6


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("manifest.json", {"class_names": ["bee", "ant", "cat"]}, "says class_names.0 'bee', but"),
        ("parity.json", {"gates": {}}, "parity.json is not the file that was exported"),
    ],
)
def test_an_edited_bundle_is_refused(
    type_command: Type,
    home: Path,
    tmp_path: Path,
    name: str,
    content: dict[str, object],
    message: str,
) -> None:
    folder = shutil.copytree(home / "bundle", tmp_path / "bundle")
    document = json.loads((folder / name).read_text())
    (folder / name).write_text(json.dumps(document | content))

    typed = type_command("parity", folder)

    assert typed.exit_code == 3
    assert message in typed.stderr
    assert not typed.stdout


@pytest.mark.parametrize(
    ("arguments", "exit_code", "message"),
    [
        (("--data", "missing"), 3, "missing: no such file or folder"),
        (("--threshold", "2"), 2, "above 0 and at most 1"),
        (("--min-top1", "1.5"), 2, "--min-top1"),
        (("--min-same-exit", "0.9"), 2, "the bundle stores no threshold"),
        (("--model", "digits"), 3, "was exported from another model"),
    ],
)
def test_bad_options_are_refused(
    type_command: Type, home: Path, arguments: tuple[str, ...], exit_code: int, message: str
) -> None:
    typed = type_command("parity", home / "bundle", *arguments)

    assert typed.exit_code == exit_code
    assert message in " ".join(typed.stderr.replace("│", "").split())

"""``reefl-edge verify``."""

import json
import shutil
from pathlib import Path

from tests.cli.conftest import Type


def test_a_bundle_that_holds_says_so_and_what_to_type_next(type_command: Type, home: Path) -> None:
    typed = type_command("verify", home / "bundle")

    assert typed.exit_code == 0
    assert "onnx/segment_0.onnx" in typed.stdout
    assert "differs" not in typed.stdout
    assert f"next: reefl-edge parity {home / 'bundle'} --data IMAGES" in typed.stderr


def test_the_document_says_everything(type_command: Type, home: Path) -> None:
    document = type_command("verify", home / "bundle", "--json").document

    assert document["bundle"] == str(home / "bundle")
    assert document["holds"] is True
    assert {check["result"] for check in document["checks"]} == {"holds"}
    assert {each["package"] for each in document["made_with"]} >= {"torch", "onnx"}
    assert document["foreign_files"] == []


def test_what_does_not_hold_is_an_exit_code_of_three_with_everything_listed(
    type_command: Type, home: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(home / "bundle", tmp_path / "bundle")
    document = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(
        json.dumps({**document, "class_names": ["bee", "ant", "cat"]})
    )
    (folder / "parity.json").write_text("{}")
    (folder / "thesis.txt").write_text("mine")

    typed = type_command("verify", folder, "--json")

    assert typed.exit_code == 3
    differing = [each for each in typed.document["checks"] if each["result"] == "differs"]
    assert len(differing) == 4  # two graphs, their weights, the report
    assert typed.document["holds"] is False
    assert typed.document["foreign_files"] == ["thesis.txt"]
    assert "thesis.txt is not the bundle's" in typed.stderr
    assert "says class_names.0 'bee', but onnx/segment_0.onnx was exported with 'ant'" in (
        typed.stderr
    )
    assert "(4 of 7 fail)" in typed.stderr


def test_a_folder_that_is_no_bundle_is_refused(type_command: Type, tmp_path: Path) -> None:
    typed = type_command("verify", tmp_path)

    assert typed.exit_code == 3
    assert "is not a bundle" in typed.stderr

"""Verifying a bundle of all formats: everything that is off is found, and nothing is run."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from reefl_edge.bundles.bundle import Bundle
from reefl_export.verification import Check, verify


@pytest.fixture
def copy(bundle: Bundle, tmp_path: Path) -> Path:
    """A copy of the bundle, to be damaged."""
    return shutil.copytree(bundle.directory, tmp_path / "copy")


def found(folder: Path, result: str) -> list[Check]:
    return [check for check in verify(Bundle.open(folder)).checks if check.result == result]


def rewrite(folder: Path, **changes: Any) -> None:
    document = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**document, **changes}))


def test_everything_in_an_exported_bundle_holds(bundle: Bundle) -> None:
    verification = verify(bundle)

    assert {check.result for check in verification.checks} == {"holds"}
    assert verification.problems == ()
    assert verification.foreign_files == ()
    listed = {file.path for artifact in bundle.manifest.artifacts for file in artifact.files}
    by_what = {
        what: {check.subject for check in verification.checks if check.what == what}
        for what in ("file", "facts", "weights")
    }
    assert by_what == {
        "file": listed | {"parity.json"},
        "facts": {
            "executorch-fp32",
            "onnx-fp32: segment_0.onnx",
            "onnx-fp32: segment_1.onnx",
            "coreml-fp32",
        },
        "weights": {"onnx-fp32: weights.safetensors"},
    }


def test_what_made_each_artifact_stands_beside_what_is_installed(bundle: Bundle) -> None:
    made = {(each.artifact, each.package): each for each in verify(bundle).made_with}

    torch = made["coreml-fp32", "torch"]
    assert torch.version == torch.installed == bundle.manifest.artifacts[0].toolchain["torch"]


def test_a_package_that_is_not_installed_is_none(copy: Path) -> None:
    document = json.loads((copy / "manifest.json").read_text())
    document["artifacts"][0]["toolchain"] = {"no-such-package": "1.0"}
    rewrite(copy, **document)

    made = verify(Bundle.open(copy)).made_with[0]

    assert (made.package, made.version, made.installed) == ("no-such-package", "1.0", None)


def test_every_file_that_is_off_is_found_and_what_it_belongs_to_is_not_opened(copy: Path) -> None:
    (copy / "model.pte").write_bytes(b"x")
    (copy / "onnx" / "segment_1.onnx").unlink()
    (copy / "parity.json").write_text("{}")

    assert [check.subject for check in found(copy, "differs")] == [
        "model.pte",
        "onnx/segment_1.onnx",
        "parity.json",
    ]
    assert [(check.subject, check.what) for check in found(copy, "not checked")] == [
        ("executorch-fp32", "facts"),
        ("onnx-fp32", "facts"),
    ]


def test_an_edited_manifest_differs_from_every_artifact(copy: Path) -> None:
    rewrite(copy, class_names=["c", "b", "a"])

    differing = found(copy, "differs")

    assert [check.subject for check in differing] == [
        "executorch-fp32",
        "onnx-fp32: segment_0.onnx",
        "onnx-fp32: segment_1.onnx",
        "onnx-fp32: weights.safetensors",
        "coreml-fp32",
    ]
    assert all("says class_names.0 'c', but" in check.detail for check in differing)


def test_a_graph_that_is_not_listed_is_missed(copy: Path) -> None:
    document = json.loads((copy / "manifest.json").read_text())
    onnx = next(each for each in document["artifacts"] if each["target"] == "onnx")
    onnx["files"] = [each for each in onnx["files"] if "segment_1" not in each["path"]]
    rewrite(copy, **document)

    (missed,) = found(copy, "differs")

    assert missed.subject == "onnx-fp32: segment_1.onnx"
    assert "lists no segment_1.onnx for onnx-fp32" in missed.detail


def test_foreign_files_are_named(copy: Path) -> None:
    (copy / "thesis.txt").write_text("mine")

    assert verify(Bundle.open(copy)).foreign_files == ("thesis.txt",)


def test_a_report_of_before_it_was_listed_is_not_checked(copy: Path) -> None:
    rewrite(copy, parity=None)

    (check,) = found(copy, "not checked")
    assert (check.subject, check.what) == ("parity.json", "file")


def test_what_takes_a_package_that_is_missing_is_not_checked(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "coremltools", None)
    monkeypatch.delitem(sys.modules, "reefl_edge.runtimes.executorch", raising=False)
    monkeypatch.setitem(sys.modules, "torch", None)

    missing = [check for check in verify(bundle).checks if check.result == "not checked"]

    assert [check.subject for check in missing] == ["executorch-fp32", "coreml-fp32"]
    assert "needs torch; install 'reefl-edge[executorch]'" in missing[0].detail
    assert "needs coremltools; install 'reefl-edge[coreml]'" in missing[1].detail

"""Is only a bundle of ours replaced by a bundle?"""

import json
import shutil
from pathlib import Path

import pytest

from reefl_edge.bundles.bundle import Bundle
from reefl_edge.errors import InputError
from reefl_export.destination import check_replaceable


@pytest.fixture
def copy(bundle: Bundle, tmp_path: Path) -> Path:
    """A bundle to put things into."""
    shutil.copytree(bundle.directory, tmp_path / "bundle")
    return tmp_path / "bundle"


def test_nothing_an_empty_folder_and_a_bundle_of_ours_may_be_replaced(
    copy: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("new", "empty", copy.name):
        check_replaceable(tmp_path / name)


def test_a_bundle_of_the_version_before_may_be_replaced(copy: Path) -> None:
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["schema_version"] = 1
    del manifest["segments"]
    (copy / "manifest.json").write_text(json.dumps(manifest))

    check_replaceable(copy)


@pytest.mark.parametrize("foreign", ["notes.txt", "onnx/mine.onnx", "zz/deep/photo.png"])
def test_a_file_of_the_users_beside_a_bundle_is_named(foreign: str, copy: Path) -> None:
    (copy / foreign).parent.mkdir(exist_ok=True, parents=True)
    (copy / foreign).write_text("precious")

    with pytest.raises(InputError, match=f"holds {foreign}, which is no file of a bundle of ours"):
        check_replaceable(copy)


def test_a_link_in_a_bundle_is_foreign(copy: Path, tmp_path: Path) -> None:
    (copy / "data").symlink_to(tmp_path)

    with pytest.raises(InputError, match="holds data, which"):
        check_replaceable(copy)


@pytest.mark.parametrize(
    "manifest",
    [
        '{"manifest_version": 3, "name": "An extension", "version": "1.0"}',
        '{"name": "A web app", "icons": [], "start_url": "/"}',
        "no json",
        "[]",
    ],
)
def test_a_manifest_of_somebody_else_is_no_bundle(manifest: str, tmp_path: Path) -> None:
    folder = tmp_path / "extension"
    folder.mkdir()
    (folder / "background.js").write_text("precious")
    (folder / "manifest.json").write_text(manifest)

    with pytest.raises(InputError, match=r"holds background\.js, which"):
        check_replaceable(folder)
    (folder / "background.js").unlink()
    with pytest.raises(InputError, match=r"holds manifest\.json, which"):
        check_replaceable(folder)


def test_a_file_is_no_bundle(tmp_path: Path) -> None:
    (tmp_path / "bundle").write_text("precious")

    with pytest.raises(InputError, match="is a file, not a bundle"):
        check_replaceable(tmp_path / "bundle")

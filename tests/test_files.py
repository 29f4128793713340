"""Does an interrupted write leave the old content, and nothing else?"""

import hashlib
import os
from pathlib import Path

import pytest

from reefl_edge.errors import InputError
from reefl_edge.files import (
    confined,
    regular_file,
    replacing_file,
    replacing_folder,
    sha256_of_file,
    write_bytes,
    write_text,
)


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def write_half_of(path: Path) -> None:
    with replacing_file(path) as partial:
        partial.write_text("half")
        raise KeyboardInterrupt


def fill_half_of(folder: Path) -> None:
    with replacing_folder(folder, marker="manifest.json") as partial:
        (partial / "manifest.json").write_text("new")
        raise KeyboardInterrupt


def test_file_is_written_whole_and_alone(tmp_path: Path) -> None:
    write_bytes(tmp_path / "deep" / "er" / "a.bin", b"\0\1")
    write_text(tmp_path / "b.txt", "grün")

    assert (tmp_path / "deep" / "er" / "a.bin").read_bytes() == b"\0\1"
    assert (tmp_path / "b.txt").read_bytes() == "grün".encode()
    assert names_in(tmp_path) == {"b.txt", "deep"}


def test_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text("old")

    with pytest.raises(KeyboardInterrupt):
        write_half_of(path)

    assert path.read_text() == "old"
    assert names_in(tmp_path) == {"report.json"}


def test_first_write_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        write_half_of(tmp_path / "report.json")

    assert names_in(tmp_path) == set()


def test_nothing_stands_at_the_destination_until_the_end(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    with replacing_file(path) as partial:
        partial.write_text("new")
        assert partial.parent == tmp_path  # the same disk, or the rename would be a copy
        assert not path.exists()
    assert path.read_text() == "new"


def test_folder_takes_the_place_of_an_older_one_whole(tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    for content in ("old", "new"):
        with replacing_folder(bundle, marker="manifest.json") as partial:
            (partial / "manifest.json").write_text(content)
            (partial / f"{content}.pte").write_text(content)

    assert names_in(bundle) == {"manifest.json", "new.pte"}
    assert (bundle / "manifest.json").read_text() == "new"
    assert names_in(tmp_path) == {"bundle"}


def test_empty_folder_may_be_filled(tmp_path: Path) -> None:
    with replacing_folder(tmp_path / "bundle", marker="manifest.json") as partial:
        (partial / "manifest.json").write_text("new")
    (tmp_path / "empty").mkdir()
    with replacing_folder(tmp_path / "empty", marker="manifest.json") as partial:
        (partial / "a").write_text("new")

    assert names_in(tmp_path / "empty") == {"a"}
    assert names_in(tmp_path) == {"bundle", "empty"}


def test_folder_that_fails_leaves_the_old_one(tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    (bundle / "manifest.json").write_text("old")

    with pytest.raises(KeyboardInterrupt):
        fill_half_of(bundle)

    assert (bundle / "manifest.json").read_text() == "old"
    assert names_in(tmp_path) == {"bundle"}


@pytest.mark.parametrize("is_file", [True, False])
def test_what_is_not_ours_is_not_overwritten(is_file: bool, tmp_path: Path) -> None:
    target = tmp_path / "photos"
    if is_file:
        target.write_text("precious")
    else:
        target.mkdir()
        (target / "a.jpg").write_text("precious")

    with (
        pytest.raises(InputError, match=r"photos exists and has no manifest\.json; choose another"),
        replacing_folder(target, marker="manifest.json"),
    ):
        pytest.fail("the folder was opened")

    assert names_in(tmp_path) == {"photos"}
    assert (target if is_file else target / "a.jpg").read_text() == "precious"


def test_hash_is_sha256(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"x" * 3_000_000)
    assert sha256_of_file(path) == hashlib.sha256(b"x" * 3_000_000).hexdigest()


def test_path_stays_in_its_folder(tmp_path: Path) -> None:
    assert confined(tmp_path, "onnx/a.onnx") == tmp_path / "onnx" / "a.onnx"


@pytest.mark.parametrize("relative", ["../a", "onnx/../../a", "/etc/passwd"])
def test_path_that_leads_out_is_refused(relative: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="leads out of"):
        confined(tmp_path, relative)


def test_link_that_leads_out_is_refused(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "link").symlink_to(tmp_path)
    with pytest.raises(InputError, match="leads out of"):
        confined(tmp_path / "root", "link/a")


def test_a_regular_file_is_taken_also_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("content")
    (tmp_path / "link").symlink_to("a")

    assert regular_file(tmp_path / "link").read_text() == "content"


def test_what_is_no_regular_file_is_refused_and_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    refusals = {
        "fifo": "fifo is no regular file",
        "/dev/null": "/dev/null is no regular file",
        "folder": "folder is a folder, not a file",
        "missing": "missing: no such file",
        "folder/x": "folder/x: no such file",
        "a": "a: too many levels of symbolic links",
        "nu\0ll": "is no path: embedded null byte",
    }
    for name, message in refusals.items():
        with pytest.raises(InputError, match=message):
            regular_file(tmp_path / name)

"""Does an interrupted write leave the old content, and nothing else?"""

import hashlib
import os
from pathlib import Path

import pytest

from reefl_edge.errors import InputError
from reefl_edge.files import (
    check_output_file,
    check_output_folder,
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


def anything(_: Path) -> None:
    """Let every folder be replaced."""


def fill_half_of(folder: Path) -> None:
    with replacing_folder(folder, check=anything) as partial:
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
        with replacing_folder(bundle, check=anything) as partial:
            (partial / "manifest.json").write_text(content)
            (partial / f"{content}.pte").write_text(content)

    assert names_in(bundle) == {"manifest.json", "new.pte"}
    assert (bundle / "manifest.json").read_text() == "new"
    assert names_in(tmp_path) == {"bundle"}


def test_empty_folder_may_be_filled(tmp_path: Path) -> None:
    with replacing_folder(tmp_path / "bundle", check=anything) as partial:
        (partial / "manifest.json").write_text("new")
    (tmp_path / "empty").mkdir()
    with replacing_folder(tmp_path / "empty", check=anything) as partial:
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


def test_what_may_not_be_replaced_stays_as_it_is(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "a.jpg").write_text("precious")

    def refuse(path: Path) -> None:
        raise InputError(f"{path.name} is not ours")

    with (
        pytest.raises(InputError, match="photos is not ours"),
        replacing_folder(photos, check=refuse),
    ):
        pytest.fail("the folder was opened")

    assert names_in(tmp_path) == {"photos"}
    assert (photos / "a.jpg").read_text() == "precious"


def test_what_came_into_a_folder_during_the_work_is_not_lost(tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"

    def refuse_if_there(path: Path) -> None:
        if path.exists():
            raise InputError("somebody was quicker")

    def write() -> None:
        with replacing_folder(bundle, check=refuse_if_there) as partial:
            (partial / "new").write_text("new")
            bundle.mkdir()
            (bundle / "theirs").write_text("precious")

    with pytest.raises(InputError, match="quicker"):
        write()

    assert names_in(tmp_path) == {"bundle"}
    assert names_in(bundle) == {"theirs"}


def test_a_link_stays_and_its_target_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "bundle").mkdir()
    (tmp_path / "there" / "bundle" / "old").write_text("old")
    (tmp_path / "there" / "report.json").write_text("old")
    for name in ("bundle", "report.json", "new.json"):
        (tmp_path / name).symlink_to(tmp_path / "there" / name)

    with replacing_folder(tmp_path / "bundle", check=anything) as partial:
        (partial / "new").write_text("new")
    write_text(tmp_path / "report.json", "new")
    write_text(tmp_path / "new.json", "new")

    assert all((tmp_path / name).is_symlink() for name in ("bundle", "report.json", "new.json"))
    assert names_in(tmp_path / "there") == {"bundle", "report.json", "new.json"}
    assert names_in(tmp_path / "there" / "bundle") == {"new"}
    assert (tmp_path / "there" / "report.json").read_text() == "new"


def test_a_device_stays_and_is_written_into(tmp_path: Path) -> None:
    before = Path("/dev/null").stat()
    write_text(Path("/dev/null"), "gone")
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    write_text(fifo, "through")

    assert Path("/dev/null").stat().st_rdev == before.st_rdev
    assert os.read(reader, 100) == b"through"
    os.close(reader)
    assert fifo.is_fifo()


def test_a_full_disk_is_told_with_the_file() -> None:
    with pytest.raises(OSError, match=r"No space left on device: '/dev/full'"):
        write_text(Path("/dev/full"), "much")


def test_permissions_of_a_replaced_file_stay(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("old")
    path.chmod(0o600)

    write_text(path, "new")

    assert path.stat().st_mode & 0o777 == 0o600


def test_an_output_that_would_destroy_an_input_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bundle" / "onnx").mkdir(parents=True)
    inside = tmp_path / "bundle" / "onnx" / "weights.safetensors"
    inside.write_text("precious")
    (tmp_path / "link").symlink_to(inside)

    for output in (inside, tmp_path / "link"):
        for each in (inside, tmp_path / "bundle"):
            with pytest.raises(ValueError, match="is an input, too"):
                check_output_file(output, inputs=[tmp_path / "other", each])
    for output in (tmp_path / "bundle", tmp_path / "bundle" / "onnx"):
        with pytest.raises(ValueError, match="is or holds an input"):
            check_output_folder(output, inputs=[inside])
    check_output_file(tmp_path / "bundle" / "new", inputs=[tmp_path / "bundle"])
    check_output_folder(tmp_path / "new", inputs=[tmp_path / "bundle"])


@pytest.mark.parametrize("output", ["", ".", "/", "folder"])
def test_an_output_file_that_is_a_folder_is_refused(
    output: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path)

    with pytest.raises(ValueError, match="is a folder; name a file"):
        check_output_file(Path(output))


@pytest.mark.parametrize("output", ["", ".", "/", "file"])
def test_an_output_folder_that_cannot_be_one_is_refused(
    output: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("precious")
    monkeypatch.chdir(tmp_path)

    with pytest.raises(ValueError, match=r"name a folder|name one inside"):
        check_output_folder(Path(output))


def test_an_output_that_cannot_be_written_is_told_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    for check in (check_output_file, check_output_folder):
        with pytest.raises(NotADirectoryError):
            check(tmp_path / "file" / "below")
        with pytest.raises(OSError, match="/proc/nowhere"):
            check(Path("/proc/nowhere/deep/er"))
        check(tmp_path / "new" / "deep" / "er")
    assert names_in(tmp_path) == {"file"}


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


@pytest.mark.parametrize("output", ["a", "a/below"])
def test_links_that_lead_to_each_other_are_told_before_the_work(
    output: str, tmp_path: Path
) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")

    for check in (check_output_file, check_output_folder):
        with pytest.raises(OSError, match="Too many levels of symbolic links"):
            check(tmp_path / output)

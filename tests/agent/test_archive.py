"""A folder as one file."""

import os
import tarfile
from pathlib import Path

from reefl_edge.agent.archive import contents_of, write_archive


def make_folder(folder: Path, *, names: tuple[str, ...], time: float) -> Path:
    folder.mkdir()
    (folder / "empty").mkdir()
    (folder / "site").mkdir()
    for name in names:
        path = folder / name
        path.write_text(name)
        path.chmod(0o700 if name == "run" else 0o600)
        os.utime(path, (time, time))
    return folder


def test_the_same_files_make_the_same_archive(tmp_path: Path) -> None:
    first = make_folder(tmp_path / "a", names=("run", "site/b.py", "site-c"), time=1e9)
    second = make_folder(tmp_path / "b", names=("site-c", "run", "site/b.py"), time=2e9)
    (second / "run").chmod(0o755)

    for folder in (first, second):
        write_archive(folder, folder.with_suffix(".tar.gz"))

    assert (tmp_path / "a.tar.gz").read_bytes() == (tmp_path / "b.tar.gz").read_bytes()
    assert contents_of(first) == contents_of(second)


def test_the_archive_holds_what_was_in_the_folder(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "a", names=("run", "site/b.py"), time=1e9)
    write_archive(folder, tmp_path / "a.tar.gz")

    with tarfile.open(tmp_path / "a.tar.gz") as tar:
        modes = {entry.name: entry.mode for entry in tar}
        owners = {(entry.uid, entry.uname, entry.mtime) for entry in tar}
        tar.extractall(tmp_path / "b", filter="data")

    assert modes == {"empty": 0o755, "run": 0o755, "site": 0o755, "site/b.py": 0o644}
    assert owners == {(0, "", 0)}
    assert contents_of(tmp_path / "b") == contents_of(folder)


def test_contents_are_hashed_with_their_paths(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "a", names=("run", "site/b.py"), time=1e9)
    before = contents_of(folder)
    assert (before.num_files, before.size_bytes) == (2, len("run") + len("site/b.py"))

    (folder / "site" / "b.py").rename(folder / "b.py")

    assert contents_of(folder).sha256 != before.sha256

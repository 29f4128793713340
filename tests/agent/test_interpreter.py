"""What an agent takes of a Debian root."""

from pathlib import Path, PurePosixPath

import pytest

from reefl_edge.agent.interpreter import find_interpreter
from reefl_edge.errors import InputError
from tests.agent.roots import PROGRAMS, make_root


def test_python_and_its_libraries_are_found_by_the_names_they_are_asked_for(
    tmp_path: Path,
) -> None:
    interpreter = find_interpreter(make_root(tmp_path / "root"), "x86-64")

    interpreter.copy_to(tmp_path / "agent")

    there = tmp_path / "agent"
    assert interpreter.version == "3.11"
    assert (there / "bin" / "python3").read_bytes() == PROGRAMS["x86-64"]
    assert (there / "lib" / "libstdc++.so.6").read_text() == "c++"
    assert (there / "lib" / "libz.so.1").read_text() == "z"
    assert (there / "lib" / "ld-linux-x86-64.so.2").is_file()
    assert (there / "lib" / "libffi.so.8").is_file()
    assert not [path for path in there.rglob("*") if path.is_symlink()]


def test_of_the_standard_library_only_what_is_needed_is_taken(tmp_path: Path) -> None:
    files = find_interpreter(make_root(tmp_path), "x86-64").files

    modules = [path.name for path in files if path.suffix == ".py"]
    assert modules == ["os.py"]


def test_the_oldest_python_that_will_do_is_taken(tmp_path: Path) -> None:
    make_root(tmp_path, python="3.13")
    for version in ("3.12", "3.9"):
        (tmp_path / "usr" / "bin" / f"python{version}").write_bytes(PROGRAMS["x86-64"])
    (tmp_path / "usr" / "lib" / "python3.12").mkdir()
    (tmp_path / "usr" / "lib" / "python3.12" / "os.py").touch()

    assert find_interpreter(tmp_path, "x86-64").version == "3.12"


def test_the_same_files_have_the_same_hash_and_others_another(tmp_path: Path) -> None:
    first = find_interpreter(make_root(tmp_path / "a"), "x86-64").sha256()
    second = make_root(tmp_path / "b")

    assert find_interpreter(second, "x86-64").sha256() == first
    (second / "usr" / "lib" / "python3.11" / "os.py").write_text("name = 'nt'\n")
    assert find_interpreter(second, "x86-64").sha256() != first


def test_a_merged_root_is_read_through_its_own_links(tmp_path: Path) -> None:
    root = make_root(tmp_path)
    (root / "lib").rename(root / "usr" / "old")
    for path in (root / "usr" / "old" / "x86_64-linux-gnu").iterdir():
        path.rename(root / "usr" / "lib" / "x86_64-linux-gnu" / path.name)
    (root / "lib").symlink_to("/usr/lib")  # this machine has one, too

    files = find_interpreter(root, "x86-64").files

    assert files[PurePosixPath("lib/libc.so.6")].read_text() == "libc.so.6"


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("usr/bin/python3.11", r"usr/bin has no Python of 3\.11 or newer; is this a Debian root?"),
        ("lib/x86_64-linux-gnu/libc.so.6", r"has no libc\.so\.6 for x86_64-linux-gnu"),
        ("usr/lib/python3.11/os.py", r"has no os\.py: Python's standard library is missing"),
    ],
)
def test_what_is_missing_in_a_root_is_named(missing: str, message: str, tmp_path: Path) -> None:
    root = make_root(tmp_path)
    (root / missing).unlink()

    with pytest.raises(InputError, match=message):
        find_interpreter(root, "x86-64")


def test_an_empty_folder_is_no_root(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is this a Debian root"):
        find_interpreter(tmp_path, "arm64")


def test_a_root_for_another_machine_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not for arm64"):
        find_interpreter(make_root(tmp_path), "arm64")


def test_links_without_end_are_refused(tmp_path: Path) -> None:
    root = make_root(tmp_path)
    library = root / "lib" / "x86_64-linux-gnu" / "libz.so.1"
    library.unlink()
    library.symlink_to("libz.so.1")

    with pytest.raises(InputError, match="leads through links without end"):
        find_interpreter(root, "x86-64")

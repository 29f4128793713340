"""Is what a killed process left behind swept, and never what a living one is at?"""

import fcntl
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from reefl_edge.files import check_output_file, replacing_file, replacing_folder
from reefl_edge.partials import (
    is_partial,
    locked,
    partial_file,
    partial_folder,
    scratch_folder,
    sweep,
)

_HOLDER = """
import sys, time
from pathlib import Path
from reefl_edge import partials
with getattr(partials, sys.argv[1])(Path(sys.argv[2])) as partial:
    print(partial, flush=True)
    time.sleep(600)
"""


def start_holder(kind: str, destination: Path) -> "tuple[subprocess.Popen[str], Path]":
    """Let another process hold a partial."""
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLDER, kind, str(destination)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


@pytest.mark.parametrize("kind", ["partial_file", "partial_folder"])
def test_what_a_killed_process_left_is_swept_and_only_then(kind: str, tmp_path: Path) -> None:
    process, partial = start_holder(kind, tmp_path / "bundle")
    try:
        sweep(tmp_path / "bundle")
        assert partial.exists()
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()

    assert partial.exists()
    sweep(tmp_path / "other")
    assert partial.exists()
    sweep(tmp_path / "bundle")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("hold", [partial_file, partial_folder])
def test_a_partial_goes_that_is_stopped_while_it_is_made(
    hold: Callable[[Path], AbstractContextManager[Path]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def stopped(_descriptor: int, _operation: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(fcntl, "flock", stopped)

    with pytest.raises(KeyboardInterrupt), hold(tmp_path / "bundle"):
        pass

    assert list(tmp_path.iterdir()) == []


def test_the_check_before_the_work_sweeps_what_one_before_it_left(tmp_path: Path) -> None:
    (tmp_path / ".report.01234567.partial").write_text("")

    check_output_file(tmp_path / "new" / "report")

    assert list(tmp_path.iterdir()) == []


def test_the_next_write_sweeps(tmp_path: Path) -> None:
    for name in (".bundle.01234567.partial", ".report.01234567.partial"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "half").write_text("half")

    with replacing_folder(tmp_path / "bundle", check=lambda _: None):
        pass
    with replacing_file(tmp_path / "report") as partial:
        partial.write_text("whole")

    assert {path.name for path in tmp_path.iterdir()} == {"bundle", "report"}


def test_a_file_of_the_users_is_never_swept(tmp_path: Path) -> None:
    kept = {
        "bundle.partial",
        ".bundle.old",
        ".bundle.mine.partial",
        ".bundlex.01234567.partial",
        ".other.01234567.partial",
    }
    for name in kept:
        (tmp_path / name).write_text("precious")
    (tmp_path / ".bundle.01234567.partial").symlink_to(tmp_path / "bundle.partial")

    sweep(tmp_path / "bundle")

    assert kept <= {path.name for path in tmp_path.iterdir()}


def test_partials_go_when_the_block_ends(tmp_path: Path) -> None:
    with partial_file(tmp_path / "a") as file, partial_folder(tmp_path / "a") as folder:
        (folder / "x").write_text("x")
        assert file != folder

    assert list(tmp_path.iterdir()) == []


def test_a_name_as_long_as_names_may_be_has_a_partial(tmp_path: Path) -> None:
    with replacing_file(tmp_path / ("ü" * 127)) as partial:
        partial.write_text("whole")

    assert [path.read_text() for path in tmp_path.iterdir()] == ["whole"]


def test_temporary_files_of_libraries_go_with_the_scratch_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / ".reefl-edge.01234567.partial").mkdir()

    with scratch_folder() as folder:
        left = Path(tempfile.mkdtemp())
        assert left.parent == folder
        assert folder.stat().st_mode & 0o777 == 0o700

    assert list(tmp_path.iterdir()) == []
    assert tempfile.gettempdir() == str(tmp_path)


def test_one_process_at_a_time_is_behind_a_lock(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from reefl_edge.partials import locked\n"
        "with locked(Path(sys.argv[1])): print('in', flush=True)\n"
    )
    with locked(tmp_path / "lock"):
        waiting = subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path / "lock")], stdout=subprocess.PIPE
        )
        with pytest.raises(subprocess.TimeoutExpired):
            waiting.communicate(timeout=1)
    printed, _ = waiting.communicate()

    assert printed == b"in\n"


def test_a_folder_of_the_user_is_no_partial_whatever_its_name(tmp_path: Path) -> None:
    with partial_folder(tmp_path / "bundle") as folder:
        assert is_partial(folder)
        assert is_partial(folder / "onnx")
    assert not is_partial(tmp_path / "run.partial" / "checkpoint")
    assert not is_partial(tmp_path / ".run.partial")

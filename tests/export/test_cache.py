"""Does the cache only ever save time?"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from reefl_edge.bundles.artifacts import Artifact, BundleFile
from reefl_export import cache

KEY = "0" * 64


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache."""
    monkeypatch.setenv("REEFL_EDGE_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "artifacts"


@pytest.fixture
def made(tmp_path: Path) -> tuple[Path, Artifact]:
    """An artifact as a converter leaves it."""
    folder = tmp_path / "made"
    (folder / "onnx").mkdir(parents=True)
    (folder / "onnx" / "segment_0.onnx").write_bytes(b"graph")
    return folder, Artifact(
        target="onnx",
        delegate=None,
        precision="fp32",
        batch_sizes=(),
        toolchain={},
        files=(BundleFile.of(folder, folder / "onnx" / "segment_0.onnx"),),
    )


def fetched(folder: Path) -> Artifact | None:
    folder.mkdir()
    return cache.fetch_artifact(KEY, folder)


def test_what_was_kept_comes_back(made: tuple[Path, Artifact], tmp_path: Path) -> None:
    folder, artifact = made
    cache.store_artifact(KEY, folder, artifact)

    assert fetched(tmp_path / "new") == artifact
    assert (tmp_path / "new" / "onnx" / "segment_0.onnx").read_bytes() == b"graph"


@pytest.mark.parametrize("damage", ["changed", "gone", "no json"])
def test_what_is_damaged_is_not_there_and_leaves_nothing(
    damage: str, made: tuple[Path, Artifact], home: Path, tmp_path: Path
) -> None:
    cache.store_artifact(KEY, *made)
    graph, described = home / KEY / "onnx" / "segment_0.onnx", home / KEY / "artifact.json"
    match damage:
        case "changed":
            graph.write_bytes(b"grape")
        case "gone":
            graph.unlink()
        case "no json":
            described.write_text("{")

    assert fetched(tmp_path / "new") is None
    assert not [path for path in (tmp_path / "new").rglob("*") if path.is_file()]


def test_a_cache_that_cannot_be_written_is_done_without(
    made: tuple[Path, Artifact],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("REEFL_EDGE_HOME", str(tmp_path / "file"))

    for _ in range(2):
        cache.store_artifact(KEY, *made)
    cache.store_rows(KEY, KEY, ())

    assert fetched(tmp_path / "new") is None
    assert cache.fetch_rows(KEY, KEY) is None
    (said,) = caplog.messages  # once, not for every artifact
    assert said.startswith("nothing is kept in the cache: ")
    assert said.endswith(f"{tmp_path / 'file' / 'artifacts'}: Not a directory")


_STORM = """
import sys
from pathlib import Path
from reefl_edge.bundles.manifest import Artifact, BundleFile
from reefl_export import cache
me = Path(sys.argv[1])
(me / "onnx").mkdir(parents=True)
(me / "onnx" / "segment_0.onnx").write_bytes(b"graph")
artifact = Artifact(
    target="onnx", delegate=None, precision="fp32", batch_sizes=(), toolchain={},
    files=(BundleFile.of(me, me / "onnx" / "segment_0.onnx"),),
)
for turn in range(40):
    cache.store_artifact("0" * 64, me, artifact)
    cache.store_rows("0" * 64, str(turn % 3), ())
    cache.fetch_rows("0" * 64, str(turn % 3))
    if cache.fetch_artifact("0" * 64, me / f"copy{turn}") not in (artifact, None):
        raise AssertionError("torn")
    if turn % 10 == 9:
        cache.clear()
"""


def test_many_processes_share_a_cache(tmp_path: Path, home: Path) -> None:
    storms = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", _STORM, str(tmp_path / f"process{number}")],
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(4)
    ]
    told = [storm.communicate()[1] for storm in storms]

    assert told == [""] * 4
    assert [storm.returncode for storm in storms] == [0] * 4
    assert {path.name for path in home.iterdir()} <= {".lock", KEY}


def test_clearing_leaves_what_is_not_ours(
    made: tuple[Path, Artifact], home: Path, tmp_path: Path
) -> None:
    cache.store_artifact(KEY, *made)
    (home / ("1" * 64)).mkdir()
    for name in ("notes.txt", "thesis"):
        (home / name).write_text("precious")
    (home / ("0" * 8)).mkdir()
    (tmp_path / "photos").mkdir()
    (home / ("2" * 64)).symlink_to(tmp_path / "photos")

    listed = cache.entries()
    freed = cache.clear()

    assert {entry.artifact is None for entry in listed} == {True, False}
    assert freed == sum(entry.size_bytes for entry in listed) > len("graph")
    assert {path.name for path in home.iterdir()} == {
        ".lock",
        "notes.txt",
        "thesis",
        "0" * 8,
        "2" * 64,
    }
    assert cache.entries() == ()


def test_a_cache_that_was_never_used_is_empty() -> None:
    assert cache.entries() == ()
    assert cache.clear() == 0


def test_an_entry_that_leads_elsewhere_is_not_copied(
    made: tuple[Path, Artifact], home: Path, tmp_path: Path
) -> None:
    cache.store_artifact(KEY, *made)
    described = json.loads((home / KEY / "artifact.json").read_text())
    described["files"][0]["path"] = os.path.relpath("/etc/passwd", home / KEY)
    (home / KEY / "artifact.json").write_text(json.dumps(described))

    assert fetched(tmp_path / "new") is None

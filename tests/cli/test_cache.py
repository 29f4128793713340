"""Listing and clearing the cache from the command line."""

from pathlib import Path

import pytest

from tests.cli.conftest import Type


def test_the_cache_is_listed_and_cleared(
    home: Path, tmp_path: Path, type_command: Type, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = type_command("cache", "list", "--json").document

    assert listed["cache"] == str(home / "cache" / "artifacts")
    assert "onnx-fp32" in {entry["artifact"] for entry in listed["entries"]}
    assert listed["size_bytes"] == sum(entry["size_bytes"] for entry in listed["entries"])
    shown = type_command("cache", "list")
    assert "onnx-fp32" in shown.stdout
    assert "reefl-edge cache clear" in shown.stderr

    monkeypatch.setenv("REEFL_EDGE_HOME", str(tmp_path))
    (tmp_path / "artifacts" / ("0" * 64)).mkdir(parents=True)
    assert "damaged" in type_command("cache", "list").stdout
    assert type_command("cache", "clear", "--json").document["freed_bytes"] == 0
    assert "removed 0.0 KiB" in type_command("cache", "clear").stdout
    assert type_command("cache", "list", "--json").document["entries"] == []

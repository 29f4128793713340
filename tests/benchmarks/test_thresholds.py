"""The benchmark of promises."""

import json
from pathlib import Path

import pytest

from benchmarks import thresholds
from benchmarks.sections import thresholds as section


def test_a_small_world_is_judged_and_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "thresholds.json"
    monkeypatch.setattr("sys.argv", ["thresholds", "--quick", "-o", str(path)])

    thresholds.main()

    document = json.loads(path.read_text())
    rules = {row["rule"] for row in document["rows"]}
    assert {"betting", "binomial", "accuracy kept on the set", "best in hindsight"} <= rules
    assert all(0 <= row["broken"] <= row["certified"] <= 1 for row in document["rows"])
    page = section.section(document)
    assert "| made up | max-drop 1 | 300 | binomial | 20 |" in page
    assert "per exit, temperatures" in page

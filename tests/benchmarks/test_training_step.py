"""The benchmark runs from end to end at tiny sizes; what it measures there means nothing."""

import json
from pathlib import Path

from tests.benchmarks.modules import run_module


def test_the_training_step_benchmark_runs_and_becomes_a_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"

    results = tmp_path / "training_step.json"
    run_module("benchmarks.training_step", "--quick", "--threads", "1", "-o", str(results))
    run_module("benchmarks.tables", "--results", str(tmp_path), "-o", str(page))

    document = json.loads(results.read_text())
    assert max(document["weights_max_abs_difference_from_plain"].values()) < 1e-6
    assert document["settings"]["threads"] == 1
    assert {"wall_ms", "cpu_ms", "to_plain"} <= document["time"]["full in-place"].keys()
    assert document["memory"]["default"].keys() == {"full plain", "full in-place"}
    text = page.read_text()
    assert "| frozen checkpointed |" in text
    assert document["host"]["cpu_name"] in text

"""The benchmark runs from end to end at tiny sizes; what it measures there means nothing."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run_module(name: str, *arguments: str) -> None:
    subprocess.run([sys.executable, "-m", name, *arguments], cwd=ROOT, check=True)


def test_the_training_step_benchmark_runs_and_becomes_a_page(tmp_path: Path) -> None:
    results, page = tmp_path / "results.json", tmp_path / "page.md"

    run_module("benchmarks.training_step", "--quick", "--threads", "1", "-o", str(results))
    run_module("benchmarks.tables", "--results", str(results), "-o", str(page))

    document = json.loads(results.read_text())
    assert max(document["weights_max_abs_difference_from_plain"].values()) < 1e-6
    assert document["settings"]["threads"] == 1
    assert {"wall_ms", "cpu_ms", "to_plain"} <= document["time"]["full in-place"].keys()
    assert document["memory"].keys() == {"default"}
    text = page.read_text()
    assert "| frozen checkpointed |" in text
    assert document["host"]["cpu_name"] in text

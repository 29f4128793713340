"""The benchmarks of exports run from end to end on two small blocks, and become a page.

On ONNX only: ExecuTorch's part is the same code, and its lowering takes too long for a test; what
is of its own, the counts in a program, is tested apart.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.apparatus.documents import RESULTS, at_least, at_most, int8_instructions
from benchmarks.tables import SECTIONS
from tests.benchmarks.modules import run_module


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the report of every benchmark."""
    folder = tmp_path_factory.mktemp("results")
    onnx = ("--runtimes", "onnx")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REEFL_EDGE_HOME", str(tmp_path_factory.mktemp("home")))
        for name, options in {
            "export_speed": onnx,
            "export_size": onnx,
            "batches": onnx,
            "int8_accuracy": onnx,
            "reexport": (),
            "applying": (),
            "inference": (),
        }.items():
            output = str(folder / f"{name}.json")
            run_module(f"benchmarks.{name}", "--quick", *options, "-o", output)
    return folder


def read(results: Path, name: str) -> Any:
    return json.loads((results / f"{name}.json").read_text())


def bars_of(document: Any) -> dict[str, Any]:
    return {bar["what"]: bar for bar in document["bars"]}


def test_speed_holds_segments_and_int8_to_their_bars(results: Path) -> None:
    document = read(results, "export_speed")

    assert bars_of(document).keys() == {
        "onnx: all segments to plain, 1 thread",
        "onnx: up to exit 0 to plain, 1 thread",
        "onnx int8-dynamic to fp32, 1 thread",
        "onnx int8-static to fp32, 1 thread",
    }
    assert bars_of(document)["onnx: up to exit 0 to plain, 1 thread"]["limit"] == 0.55
    runs = document["time"]["1"]["runs"]
    assert runs["onnx fp32 exit 1"]["gflops"] > 0
    assert {"wall_ms", "cpu_ms"} == runs["onnx plain"].keys()


def test_size_holds_bytes_and_memory_to_the_single_model(results: Path) -> None:
    bars = bars_of(read(results, "export_size"))

    assert bars["onnx: bytes to the single model"]["figure"] > 0
    assert bars["onnx: memory to the single model"]["limit"] == 1.05
    assert bars["onnx int8-static: bytes to fp32"]["limit"] == 0.30


def test_half_of_a_batch_stops_first(results: Path) -> None:
    document = read(results, "batches")

    (bar,) = document["bars"]
    assert not bar["is_upper"]
    assert document["time"]["1"].keys() == {"onnx all to the end", "onnx half stop first"}


def test_an_export_is_served_without_torch(results: Path) -> None:
    document = read(results, "reexport")

    assert document["imports_torch"] is False
    assert len(document["seconds"]) == 2


def test_one_photograph_and_a_folder_are_held_to_what_they_could_take(results: Path) -> None:
    document = read(results, "inference")

    assert [bar["limit"] for bar in document["bars"]] == [1.25, 1.10, 1.05]
    assert document["folder"]["best_s"] > 0
    assert document["one_photograph"].keys() == {"infer", "onnxruntime alone"}


def test_int8_is_compared_at_every_exit(results: Path) -> None:
    document = read(results, "int8_accuracy")

    assert [row["name"] for row in document["artifacts"]] == [
        "onnx int8-dynamic",
        "onnx int8-static",
    ]
    assert len(document["artifacts"][0]["exits"]) == 2


def test_the_accuracy_benchmark_says_that_it_has_nothing_to_compare(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run_module("benchmarks.int8_accuracy", "-o", str(tmp_path / "none.json"))

    assert "skipped: give --model" in capfd.readouterr().out
    assert not list(tmp_path.iterdir())


def test_the_reports_become_a_page(results: Path, tmp_path: Path) -> None:
    run_module("benchmarks.tables", "--results", str(results), "-o", str(tmp_path / "page.md"))

    text = (tmp_path / "page.md").read_text()
    for title in ("size of a bundle", "speed of exported", "accuracy of int8", "Exporting again"):
        assert title in text
    assert "| onnx: all segments to plain, 1 thread |" in text


def test_a_bar_holds_at_its_limit_and_not_beyond() -> None:
    assert at_most("time", 1.05, 1.05)["holds"]
    assert not at_most("time", {"ratio": 1.06, "low": 1.0, "high": 1.1}, 1.05)["holds"]
    assert at_least("throughput", 1.4, 1.4)["holds"]
    assert not at_least("throughput", 1.3, 1.4)["holds"]


@pytest.mark.parametrize(
    ("features", "name"),
    [
        (["avx2"], None),
        (["avx2", "avx512_vnni"], "VNNI"),
        (["avx2", "avx_vnni"], "VNNI"),
        (["asimd", "asimddp"], "dot product"),
    ],
)
def test_the_instructions_for_int8_are_named(features: list[str], name: str | None) -> None:
    assert int8_instructions(features) == name


def test_the_results_in_the_tree_are_those_of_the_page() -> None:
    names = {path.stem for path in RESULTS.glob("*.json")}

    assert names
    assert names <= SECTIONS.keys()

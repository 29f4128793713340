"""``reefl-edge profile``, and a report that decides what is exported."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Type


def test_every_exit_is_measured_and_the_deepest_in_the_budget_exported(
    type_command: Type, home: Path, tmp_path: Path
) -> None:
    report = tmp_path / "report.json"

    profiled = type_command(
        "profile", "--model", home / "bundle", "--budget-ms", 10_000, "--regime", "none",
        "--threads", 1, "-o", report, "--json",
    )  # fmt: skip
    exported = type_command(
        "export", home / "model.safetensors", "--report", report, "--format", "onnx",
        "-o", tmp_path / "bundle", "--json",
    )  # fmt: skip

    assert profiled.exit_code == exported.exit_code == 0
    assert profiled.document == json.loads(report.read_text())
    rows = profiled.document["rows"]
    assert [(row["exit_index"], row["runtime"], row["kind"]) for row in rows] == [
        (0, "onnx", "inference"),
        (1, "onnx", "inference"),
    ]
    assert profiled.document["choice"]["exit_index"] == 1
    assert exported.document["submodel"]["max_exit"] == 1


def test_a_budget_no_exit_meets_is_an_error_that_keeps_the_samples(
    type_command: Type, home: Path, tmp_path: Path
) -> None:
    report = tmp_path / "report.json"

    typed = type_command(
        "profile", "--model", home / "bundle", "--budget-ms", 1e-6, "--regime", "none",
        "--threads", 1, "-o", report,
    )  # fmt: skip
    exported = type_command(
        "export", home / "model.safetensors", "--report", report, "-o", tmp_path / "bundle"
    )

    assert typed.exit_code == 6
    assert "no exit runs within 1e-06 ms; exit 0 needs" in typed.stderr
    assert len(json.loads(report.read_text())["rows"]) == 2
    assert exported.exit_code == 3
    assert "holds no choice" in exported.stderr


@pytest.mark.parametrize(
    ("arguments", "exit_code", "message"),
    [
        (("--device", "pixel7"), 4, "pixel7"),
        (("--device", "pixel"), 2, "did you mean pixel7"),
        (("--budget-ms", "-1"), 2, "must be positive, got -1"),
        (("--runtime", "onx"), 2, "did you mean onnx?"),
        (("--threads", "1000"), 2, "'--threads': threads must be from 1 to"),
        (("--model", "deit_smal"), 2, "did you mean deit_small"),
    ],
)
def test_bad_options_are_refused(
    type_command: Type, home: Path, arguments: tuple[str, ...], exit_code: int, message: str
) -> None:
    typed = type_command("profile", "--model", home / "bundle", *arguments)

    assert typed.exit_code == exit_code
    assert message in " ".join(typed.stderr.replace("│", "").split())

"""``reefl-edge assign``: reports in, an assignment out."""

import json
from pathlib import Path

import pytest

from reefl_edge.profiling.assignment import read_assignment
from reefl_edge.profiling.report import Report, write_report
from tests.cli.conftest import Type
from tests.fakes.measurements import report, row
from tests.profiling.test_assignment import device, of_model

ROUND = ("--round-deadline-s", 8.5, "--examples-per-round", 320, "--uplink-mbps", 1000)


def written(folder: Path, **reports: Report) -> list[Path]:
    """Write reports, each under its name; return where they lie."""
    for name, each in reports.items():
        write_report(each, folder / f"{name}.json")
    return [folder / f"{name}.json" for name in reports]


def test_reports_become_an_assignment_and_a_picture(type_command: Type, tmp_path: Path) -> None:
    pi, pixel = written(tmp_path, pi=device(slowness=4), a=of_model(device(), device="pixel7"))
    output, picture = tmp_path / "assignment.json", tmp_path / "fleet.png"

    typed = type_command(
        "assign", pi, pixel, "--budget-ms", 90, *ROUND, "-o", output, "--picture", picture
    )
    as_json = type_command("assign", pi, pixel, "--budget-ms", 90, *ROUND, "--json")

    assert typed.exit_code == as_json.exit_code == 0
    assert as_json.document == json.loads(output.read_text())
    assert [(each.device, each.max_exit) for each in read_assignment(output).devices] == [
        ("pi", 1),
        ("pixel7", 3),
    ]
    assert picture.stat().st_size > 0
    shown = " ".join(typed.stdout.split())
    assert "with other deadlines" in shown
    assert f"saved {output}" in typed.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "'--budget-ms': nothing is limited"),
        (("--budget-ms", 0), "'--budget-ms': inference_ms must be positive"),
        (("--budget-mib", "-3"), "'--budget-mib': memory_mib must be positive"),
        (("--round-deadline-s", 9), "'--examples-per-round': a round takes it, too"),
        (("--uplink-mbps", 9), "'--round-deadline-s': a round takes it, too"),
        (("--budget-ms", 9, "--downlink-mbps", 9), "'--downlink-mbps': no round is limited"),
        (
            ("--round-deadline-s", 9, "--examples-per-round", 0, "--uplink-mbps", 9),
            "examples_per_round must be positive",
        ),
        (("--budget-ms", "9ms"), "'--budget-ms'"),
    ],
)
def test_bad_options_are_refused(
    type_command: Type, tmp_path: Path, arguments: tuple[object, ...], message: str
) -> None:
    (path,) = written(tmp_path, pi=device())

    typed = type_command("assign", path, *arguments)

    assert typed.exit_code == 2
    assert message in " ".join(typed.stderr.replace("│", "").split())


@pytest.mark.parametrize(
    ("reports", "message"),
    [
        (
            {name: of_model(device(), device="pixel7") for name in "ab"},
            "b.json are both of pixel7; give one report of each device",
        ),
        ({"a": device(), "b": device()}, "b.json are the same report"),
        ({"a": report(row(0, 1.0))}, "a: the report measures no fine-tuning step of exit 0"),
    ],
)
def test_reports_that_do_not_fit_are_input_errors(
    type_command: Type, tmp_path: Path, reports: dict[str, Report], message: str
) -> None:
    typed = type_command("assign", *written(tmp_path, **reports), *ROUND)

    assert typed.exit_code == 3
    assert message in typed.stderr


def test_what_is_no_report_is_an_input_error(type_command: Type, tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text("{}")

    assert type_command("assign", tmp_path / "other.json", "--budget-ms", 9).exit_code == 3
    assert type_command("assign", tmp_path / "none.json", "--budget-ms", 9).exit_code == 3


def test_a_report_is_not_written_over(type_command: Type, tmp_path: Path) -> None:
    (path,) = written(tmp_path, pi=device())

    assert type_command("assign", path, "--budget-ms", 99, "-o", path).exit_code == 2


def test_measurements_that_are_not_valid_end_with_6_unless_accepted(
    type_command: Type, tmp_path: Path
) -> None:
    (path,) = written(tmp_path, pi=report(row(0, [1.0, 1.0, 1.0, 1.0, 1.8] * 3)))

    refused = type_command("assign", path, "--budget-ms", 9)
    accepted = type_command("assign", path, "--budget-ms", 9, "--accept-noisy")
    too_deep = type_command("assign", path, "--budget-ms", 0.1, "--accept-noisy")

    assert (refused.exit_code, accepted.exit_code, too_deep.exit_code) == (6, 0, 6)
    assert "accept it with --accept-noisy" in refused.stderr
    assert "warning: pi, exit 0, inference: noisy" in accepted.stderr
    assert "pi: no exit runs within 0.1 ms" in too_deep.stderr

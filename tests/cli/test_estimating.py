"""``profile --estimate`` and ``--device emu:``: what is said of devices that are not here."""

import json
from pathlib import Path

import pytest

from reefl_edge.devices.links import opening
from reefl_edge.jobs.outcome import Failed
from tests.cli.conftest import Type
from tests.fakes.devices import FakeLink
from tests.fakes.jobs import ended


def test_a_device_that_is_not_here_is_predicted_and_the_choice_takes_the_upper_end(
    type_command: Type, home: Path, tmp_path: Path
) -> None:
    path = tmp_path / "report.json"
    asked = ("profile", "--model", home / "bundle", "--device", "pixel7", "--estimate")

    shown = type_command(*asked, "--regime", "none")
    chosen = type_command(*asked, "--budget-ms", 10_000, "-o", path, "--json")

    assert shown.exit_code == chosen.exit_code == 0
    assert "predicted, not measured: " in shown.stdout
    document = json.loads(path.read_text())
    assert document == chosen.document
    assert document["rows"] == []
    assert not document["context"]["is_real_hardware"]
    kinds = [(each["kind"], each["exit_index"]) for each in document["predictions"]]
    assert kinds == [("inference", 0), ("inference", 1), ("step", 0), ("step", 1)]
    deepest = document["predictions"][1]["p90_ms"]
    assert deepest["low"] < deepest["value"] < deepest["high"]
    assert f"predicted to be at most {deepest['high']:.4g} ms" in document["choice"]["reasons"][1]


def test_a_report_fills_itself_up(type_command: Type, home: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    asked = ("profile", "--model", home / "bundle", "--regime", "none", "--threads", 1)
    measured = type_command(*asked, "--max-exit", 0, "-o", report, "--json")

    filled = type_command(*asked, "--estimate", "--calibrate-from", report, "--json")

    assert measured.exit_code == filled.exit_code == 0
    assert filled.document["rows"] == measured.document["rows"]
    (prediction,) = filled.document["predictions"]
    assert (prediction["exit_index"], prediction["basis"]) == (1, "model")


def test_options_of_a_prediction_are_refused_where_something_is_measured(
    type_command: Type, home: Path
) -> None:
    asked = ("profile", "--model", home / "bundle", "--regime", "none")

    from_report = type_command(*asked, "--calibrate-from", "report.json")
    memory = type_command(*asked, "--memory-mib", 512)
    unsaid = type_command(*asked, "--device", "rpi4", "--estimate")
    nothing_alike = type_command(*asked, "--estimate", "--precision", "int8-static")

    assert [typed.exit_code for typed in (from_report, memory, unsaid, nothing_alike)] == [2] * 4
    assert "only a prediction (--estimate) goes by reports" in from_report.stderr
    assert "a device that is measured says so itself" in memory.stderr
    assert "say which with --memory-mib" in unsaid.stderr
    assert "give one with --calibrate-from" in nothing_alike.stderr


def test_the_time_of_an_emulation_meets_no_budget(type_command: Type, home: Path) -> None:
    typed = type_command(
        "profile", "--model", home / "bundle", "--device", "emu:pixel7", "--budget-ms", 10
    )

    assert typed.exit_code == 2
    assert "says nothing of the device" in typed.stderr
    assert "--device pixel7 --estimate" in typed.stderr


@pytest.mark.parametrize("option", ["--budget-ms", "--budget-step-ms"])
def test_the_time_of_an_emulated_phone_is_refused_before_anything_is_measured(
    type_command: Type, home: Path, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    link = FakeLink(lambda _: ended(Failed(code="measurement", message="it was measured")))
    link.name = "adb:emulator-5554"
    monkeypatch.setattr(opening, "link_for", lambda _device: link)
    asked = ("profile", "--model", home / "bundle", "--device", link.name)

    timed = type_command(*asked, option, 20)
    sized = type_command(*asked, "--budget-mib", 500, "--regime", "none")

    assert timed.exit_code == 2
    assert f"{option}: adb:emulator-5554 is an emulation" in timed.stderr.replace("'", "")
    assert "limit memory (--budget-mib)" in timed.stderr
    assert "it was measured" in sized.stderr

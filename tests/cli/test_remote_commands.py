"""Whole commands on a device at the end of a real link."""

import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from reefl_edge.devices.links import opening
from tests.agents import ROOT, stand_in
from tests.cli.conftest import Type
from tests.remotes import Remote, remote_of
from tests.sshd import HOST, needs_sshd

pytestmark = needs_sshd


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Remote]:
    """A board whose Python believes that it is 1970, and that no time passes."""
    (tmp_path / "clock").mkdir()
    (tmp_path / "clock" / "sitecustomize.py").write_text("import time\ntime.time = lambda: 0.0\n")
    (tmp_path / "own").mkdir()
    agent_for = stand_in(
        tmp_path / "own",
        f"exec env -i PYTHONPATH={tmp_path / 'clock'}:{ROOT} ORT_DISABLE_TELEMETRY=1 "
        f'{sys.executable} -P "$@"',
    )
    (tmp_path / "ssh").mkdir()
    with remote_of("ssh", tmp_path / "ssh", agent_for=agent_for) as remote:
        for name, value in remote.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(opening, "link_for", partial(opening.link_for, agent_for=agent_for))
        yield remote


def test_a_board_whose_clock_is_years_off_is_profiled(
    type_command: Type, home: Path, board: Remote
) -> None:
    typed = type_command(
        "profile", "--model", home / "bundle", "--device", f"ssh:{HOST}", "--regime", "none",
        "--max-exit", 0, "--threads", 1, "--passes", 1, "--accept-noisy", "--json",
    )  # fmt: skip

    assert typed.exit_code == 0, typed.stderr
    context = typed.document["context"]
    assert context["device"] == f"ssh:{HOST}"
    measured_at = datetime.fromisoformat(context["measured_at"])
    assert abs(datetime.now(UTC) - measured_at) < timedelta(minutes=10)
    assert [row["exit_index"] for row in typed.document["rows"]] == [0]
    assert board.is_idle()


def test_photos_are_classified_there_as_here(type_command: Type, home: Path, board: Remote) -> None:
    words = [
        "infer", home / "bundle", home / "first.png", home / "broken.png", home / "data.npz",
        "--threshold", "0.4", "--batch-size", 5, "--json",
    ]  # fmt: skip

    here = type_command(*words)
    there = type_command(*words, "--device", f"ssh:{HOST}")

    assert there.exit_code == here.exit_code == 3, there.stderr
    assert len(there.document["predictions"]) == 13
    for answer, expected in zip(
        there.document["predictions"], here.document["predictions"], strict=True
    ):
        assert answer | {"latency_ms": 0} == pytest.approx(expected | {"latency_ms": 0}, abs=1e-6)
    for key in ("failures", "thresholds", "measure", "temperatures", "promise"):
        assert there.document[key] == here.document[key]
    assert board.is_idle()


def test_a_device_classifies_with_onnxruntime_only(type_command: Type, home: Path) -> None:
    typed = type_command(
        "infer", home / "bundle", home / "first.png", "--runtime", "eager",
        "--device", f"ssh:{HOST}",
    )  # fmt: skip

    assert typed.exit_code == 2
    assert "a device classifies with onnxruntime, not eager" in typed.stderr


@pytest.mark.usefixtures("board")
def test_a_device_measures_a_compiled_step_unless_told_otherwise(
    type_command: Type, home: Path
) -> None:
    model = home / "model.safetensors"
    where = ("profile", "--model", model, "--max-exit", 0, "--device", f"ssh:{HOST}")

    typed = type_command(*where, "--passes", 1, "--threads", 1, "--accept-noisy", "--json")
    eager = [type_command(*where, option, "eager") for option in ("--runtime", "--step-runtime")]

    assert typed.exit_code == 0, typed.stderr
    rows = [(row["kind"], row["runtime"]) for row in typed.document["rows"]]
    assert rows == [("inference", "onnx"), ("step", "onnx")]
    for refused in eager:
        assert refused.exit_code == 2
        assert f"ssh:{HOST} computes with onnxruntime, not eager" in refused.stderr


@pytest.mark.usefixtures("board")
def test_more_threads_than_the_device_has_cores_are_refused_before_the_training(
    type_command: Type, home: Path, tmp_path: Path
) -> None:
    exported = type_command(
        "export", home / "model.safetensors", "--format", "onnx", "--training", "frozen",
        "--training-batch-size", 4, "-o", tmp_path / "trainable",
    )  # fmt: skip
    assert exported.exit_code == 0, exported.stderr

    typed = type_command(
        "finetune", tmp_path / "trainable", "--data", home / "data.npz", "--threads", 999,
        "--device", f"ssh:{HOST}", "-o", tmp_path / "update.safetensors",
    )  # fmt: skip

    assert typed.exit_code == 2
    assert "'--threads': threads must be from 1 to" in typed.stderr


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--device", "local"), "for ssh: and adb:; the Python here runs local"),
        (("--device", "emu:pixel7"), "for ssh: and adb:; the Python here runs emu:pixel7"),
        (("--device", "pixel7", "--estimate"), "--estimate runs nothing there"),
    ],
)
def test_a_device_s_python_is_chosen_for_devices_alone(
    type_command: Type, words: tuple[str, ...], reason: str
) -> None:
    typed = type_command("profile", "--model", "digits", "--device-python", *words)

    assert typed.exit_code == 2
    assert f"'--device-python': {reason}" in typed.stderr

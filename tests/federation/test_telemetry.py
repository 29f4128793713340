"""What is kept of rounds, and what of them is forgotten when they are told again."""

import json
from pathlib import Path

import pytest

from reefl_edge.errors import InputError
from reefl_edge.federation.telemetry import Telemetry, figures, read_rounds, round_line
from tests.fakes.federation_reports import round_record


def told(folder: Path, *rounds: int) -> Telemetry:
    telemetry = Telemetry(folder)
    for server_round in rounds:
        telemetry.on_round(round_record(server_round))
    telemetry.close()
    return telemetry


def test_every_round_is_a_line_of_json(tmp_path: Path) -> None:
    telemetry = told(tmp_path, 0, 1, 2)

    lines = (tmp_path / "rounds.jsonl").read_text().splitlines()

    assert [json.loads(line)["server_round"] for line in lines] == [0, 1, 2]
    assert tuple(read_rounds(tmp_path / "rounds.jsonl")) == telemetry.rounds
    assert telemetry.rounds[2] == round_record(2)


def test_a_federation_that_goes_on_adds_to_what_was_kept(tmp_path: Path) -> None:
    told(tmp_path, 0, 1, 2)

    assert [each.server_round for each in told(tmp_path, 3, 4).rounds] == [0, 1, 2, 3, 4]
    assert len(read_rounds(tmp_path / "rounds.jsonl")) == 5


def test_a_round_that_is_told_again_takes_the_place_of_what_was_kept(tmp_path: Path) -> None:
    told(tmp_path, 0, 1, 2, 3)

    assert [each.server_round for each in told(tmp_path, 2).rounds] == [0, 1, 2]
    assert len(read_rounds(tmp_path / "rounds.jsonl")) == 3


def test_half_a_line_of_a_killed_process_is_passed_over(tmp_path: Path) -> None:
    told(tmp_path, 0, 1)
    with (tmp_path / "rounds.jsonl").open("a") as file:
        file.write('{"server_round": 2, "cli')

    assert [each.server_round for each in told(tmp_path, 2).rounds] == [0, 1, 2]
    assert len(read_rounds(tmp_path / "rounds.jsonl")) == 3


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    told(tmp_path, 0, 1)
    path = tmp_path / "rounds.jsonl"
    path.write_text(path.read_text().replace('"server_round":1', '"server_round":"x"'))

    with pytest.raises(InputError, match=r"rounds\.jsonl, line 2"):
        read_rounds(path)


def test_tensorboard_reads_what_was_written(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    told(tmp_path, 0, 1, 2)

    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    found = events.Tensors("accuracy/exit_1")
    assert [each.step for each in found] == [0, 1, 2]
    assert found[2].tensor_proto.float_val[0] == pytest.approx(
        dict(figures(round_record(2)))["accuracy/exit_1"]
    )
    assert [each.step for each in events.Tensors("train/loss")] == [1, 2]


def test_figures_are_of_the_clients_that_count() -> None:
    record = round_record(2, late=True)

    found = dict(figures(record))

    losses = [each.loss or 0.0 for each in record.clients[1:]]
    assert found["train/loss"] == pytest.approx(sum(losses) / 3)
    assert found["train/clients"] == 3
    assert found["train/clients_left_out"] == 1
    assert found["bytes/down"] == 4 * 4096
    assert found["time/estimated_device_s"] == 4.5


def test_a_round_is_one_line_of_text() -> None:
    assert round_line(round_record(0), num_rounds=9) == "round 0/9; accuracy 10.0 10.0 %"
    assert round_line(round_record(5, late=True), num_rounds=9) == (
        "round 5/9; 3 of 4 clients; loss 2.480; accuracy 41.6 47.9 %; 16 KiB down, 8 up; "
        "about 4.5 s on devices"
    )

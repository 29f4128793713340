"""The report of a federation is a document: what it holds is held to what it is of."""

from dataclasses import replace
from pathlib import Path

import pytest

from reefl_edge.federation.report import read_federation_report, report_of, write_federation_report
from reefl_edge.federation.settings import FederationSettings
from tests.fakes.federation_reports import federation_report, round_record


def test_a_report_is_read_as_it_was_written(tmp_path: Path) -> None:
    report = federation_report()
    write_federation_report(report, tmp_path / "report.json")

    assert read_federation_report(tmp_path / "report.json") == report


def test_rounds_come_once_each_and_in_order() -> None:
    with pytest.raises(ValueError, match=r"the rounds are \[1, 0\]; need each once, in order"):
        replace(federation_report(), rounds=(round_record(1), round_record(0)))


def test_every_exit_of_the_model_has_its_accuracy() -> None:
    with pytest.raises(
        ValueError, match="round 1 has the accuracy of 3 exits, and the model has 2"
    ):
        replace(federation_report(), rounds=(round_record(1, num_exits=3),))


def test_settings_stand_in_a_report_as_the_run_configuration_has_them() -> None:
    settings = FederationSettings(model="m.safetensors", num_rounds=3)

    report = report_of(settings, federation_report().submodel, federation_report().rounds)

    assert report.settings["num-rounds"] == 3
    assert report.epsilon is None


def test_a_private_federation_says_what_its_models_tell_of_a_client() -> None:
    settings = FederationSettings(
        model="m.safetensors",
        clients_per_round=10,
        expected_clients=100,
        clip_norm=1.0,
        noise_multiplier=1.0,
    )

    report = report_of(settings, federation_report().submodel, federation_report().rounds)

    noisier = replace(settings, noise_multiplier=2.0)
    less_told = report_of(noisier, federation_report().submodel, federation_report().rounds)
    assert report.epsilon is not None
    assert less_told.epsilon is not None
    assert 0 < less_told.epsilon < report.epsilon

"""Reports: written, read again, refused."""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from math import inf, nan
from pathlib import Path
from typing import Any

import pytest

from reefl_edge.cost import exit_costs
from reefl_edge.devices.host import describe_host
from reefl_edge.errors import InputError
from reefl_edge.profiling.report import Choice, read_report, report_json, write_report
from tests.fakes.measurements import report, row


def test_a_report_read_again_is_the_same(tmp_path: Path) -> None:
    written = report(row(0, [1.5, 1.25, 1.0]), row(0, 40, kind="step", memory_mib=32.125))
    write_report(written, tmp_path / "report.json")

    assert read_report(tmp_path / "report.json") == written


def test_a_reports_path_may_be_text(tmp_path: Path) -> None:
    original = report(row(0, [1.5, 1.25, 1.0]))

    write_report(original, str(tmp_path / "report.json"))

    assert read_report(str(tmp_path / "report.json")) == original


def test_the_file_says_the_figures_with_their_units_beside_the_samples() -> None:
    text = report_json(report(row(0, [3.0, 1.0, 2.0], memory_mib=12)))

    (fields,) = json.loads(text)["rows"]
    assert '"latency_ms_samples": [ 3.0, 1.0, 2.0 ]' in text
    assert fields["summary"]["p50_ms"] == 2.0
    assert fields["summary"]["peak_above_baseline_mib"] == 12
    assert fields["summary"]["reason"] == "too few samples: 3, need 5"


def test_what_a_row_takes_is_counted_beside_what_was_measured() -> None:
    tokens, hidden = 5 * 16, 5 * 64
    rows = (row(0, 1.0), row(1, 9.0, kind="step", batch_size=2, regime="full"))

    inference, step = json.loads(report_json(report(*rows)))["rows"]

    # Inference up to exit 0 holds the image and its tokens; a step what the backward pass needs.
    assert inference["cost"]["fp32_activation_bytes"] == 4 * (3 * 16 * 16 + tokens)
    assert step["cost"]["fp32_activation_bytes"] == 4 * 2 * 2 * (8 * tokens + 2 * hidden)
    deepest = exit_costs(report(*rows).context.submodel, batch_size=2)[1].step
    assert step["cost"]["macs"] == deepest.macs
    assert step["cost"]["fp32_weight_bytes"] == deepest.weight_bytes


def test_a_batch_of_images_takes_as_many_products_and_activations_but_the_same_weights() -> None:
    measured = report(row(0, 1.0), row(1, 1.0, batch_size=3))
    one = exit_costs(measured.context.submodel)[1].inference

    cost = measured.cost_of(measured.rows[1])

    assert cost is not None
    assert cost.macs == 3 * one.macs
    assert cost.activation_bytes == 3 * one.activation_bytes
    assert cost.weight_bytes == one.weight_bytes


def test_a_step_is_counted_under_the_regime_that_it_trained() -> None:
    full, frozen, unknown = (
        report(row(1, 9.0, kind="step", regime=regime)) for regime in ("full", "frozen", None)
    )
    frozen_cost, full_cost = (each.cost_of(each.rows[0]) for each in (frozen, full))

    assert frozen_cost is not None
    assert full_cost is not None
    assert frozen_cost.macs < full_cost.macs
    assert json.loads(report_json(unknown))["rows"][0]["cost"] is None


def test_a_cost_that_somebody_changed_is_counted_again(tmp_path: Path) -> None:
    document = json.loads(report_json(report(row(0, 4.0))))
    macs = document["rows"][0]["cost"]["macs"]
    document["rows"][0]["cost"]["macs"] = 1
    path = tmp_path / "report.json"
    path.write_text(json.dumps(document))

    read = read_report(path)

    assert json.loads(report_json(read))["rows"][0]["cost"]["macs"] == macs


def test_a_step_of_a_regime_the_model_has_no_place_for_is_refused() -> None:
    measured = report(row(0, 9.0, kind="step", regime="lora"))
    adapted = measured.context.submodel.with_regime("serial-adapter")

    with pytest.raises(ValueError, match="it cannot be trained as 'lora'"):
        replace(measured, context=replace(measured.context, submodel=adapted))


def test_figures_that_somebody_changed_are_derived_again(tmp_path: Path) -> None:
    document = json.loads(report_json(report(row(0, 4.0))))
    document["rows"][0]["summary"]["p90_ms"] = 1.0
    path = tmp_path / "report.json"
    path.write_text(json.dumps(document))

    assert read_report(path).rows[0].summary.p90_ms == 4.0


def test_rows_of_one_kind_come_shallowest_first() -> None:
    rows = report(row(1, 2.0), row(0, 9.0, kind="step"), row(0, 1.0)).rows_of("inference")

    assert [row.exit_index for row in rows] == [0, 1]


def test_two_rows_of_the_same_thing_are_refused() -> None:
    with pytest.raises(ValueError, match="more than one row for local eager fp32 1 0 inference"):
        report(row(0, 1.0), row(0, 2.0))


def test_a_report_from_a_newer_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text('{"schema_version": 99}')

    with pytest.raises(InputError, match=r"schema version 99, newer than 1, .*; upgrade"):
        read_report(path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "not a JSON file"),
        ("[]", "should be"),
        ('{"schema_version": 1, "rows": []}', "context"),
        ('{"schema_version": 1, "context": {}, "rows": [{"threads": "many"}]}', "more"),
    ],
)
def test_a_file_that_is_no_report_is_an_input_error(
    tmp_path: Path, content: str, reason: str
) -> None:
    path = tmp_path / "report.json"
    path.write_text(content)

    with pytest.raises(InputError, match=reason) as caught:
        read_report(path)
    assert str(path) in str(caught.value)


def changed(tmp_path: Path, change: Callable[[Any], None]) -> Path:
    """Write a report of two rows and a choice, after a change to its document."""
    choice = Choice(exit_index=1, reasons=("exit 0 fits", "exit 1 fits"))
    document = json.loads(report_json(replace(report(row(0, 4.0), row(1, 5.0)), choice=choice)))
    change(document)
    path = tmp_path / "report.json"
    path.write_text(json.dumps(document))
    return path


def samples_of(document: Any) -> Any:
    return document["rows"][0]["measurement"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda document: document.update(rows=[]), "holds no rows: nothing was measured"),
        (
            lambda document: document["choice"].update(exit_index=-1),
            "the choice is exit -1, but the model has exits 0 to 3",
        ),
        (lambda document: document["choice"].update(exit_index=4), "the choice is exit 4, but"),
        (lambda document: document["rows"][1].update(exit_index=4), "a row is of exit 4, but"),
        (lambda document: document["rows"][1].update(exit_index=-1), "and exit -1"),
        (lambda document: document["rows"][1].update(threads=0), "no row has 0 threads"),
        (lambda document: document.update(schema_version=0), "no report has schema version 0"),
        (lambda document: document.update(schema_version=-1), "no report has schema version -1"),
        (lambda document: document.update(schema_version="new"), "schema_version"),
        (lambda document: samples_of(document).update(latency_ms_samples=[]), "0 samples of"),
        (
            lambda document: samples_of(document).update(latency_ms_samples=[], cpu_ms_samples=[]),
            "need as many of both, and at least one",
        ),
        (lambda document: samples_of(document)["latency_ms_samples"].append(1.0), "11 samples of"),
        *(
            (
                lambda document, odd=odd: samples_of(document)["latency_ms_samples"].__setitem__(
                    0, odd
                ),
                reason,
            )
            for odd, reason in (
                (-1.0, "a latency is no positive number"),
                (0.0, "a latency is no positive number"),
                (1e308, "a latency is no positive number"),
                ("NaN", "latency_ms_samples.0: Input should be a valid number"),
                (True, "latency_ms_samples.0: Input should be a valid number"),
            )
        ),
        (lambda document: samples_of(document).update(cpu_ms_samples=[-1.0] * 10), "is negative,"),
        (lambda document: samples_of(document).update(peak_mib=-1.0), "is negative, or no number"),
        (lambda document: samples_of(document).update(load_ms="inf"), "be a valid number"),
        (lambda document: samples_of(document).update(load_ms=inf), "not a JSON file"),
        (lambda document: samples_of(document).update(load_ms=nan), "not a JSON file"),
    ],
)
def test_a_report_of_nothing_that_can_be_is_an_input_error(
    tmp_path: Path, change: Callable[[Any], None], reason: str
) -> None:
    path = changed(tmp_path, change)

    with pytest.raises(InputError) as caught:
        read_report(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_figures_need_not_be_in_the_file(tmp_path: Path) -> None:
    path = changed(tmp_path, lambda document: document["rows"][0].pop("summary"))

    assert read_report(path).rows[0].summary.p90_ms == 4.0


def test_the_figures_of_a_row_are_derived_once() -> None:
    measured = row(0, [1.0, 2.0, 3.0])

    assert measured.summary is measured.summary


def test_a_report_is_a_regular_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "report.json")

    with pytest.raises(InputError, match=r"report\.json is no regular file"):
        read_report(tmp_path / "report.json")


def test_a_missing_report_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_report(tmp_path / "report.json")


def test_this_machine_describes_itself() -> None:
    host = describe_host()

    assert host.cpu_name
    assert 1 <= host.num_usable_cores <= host.num_cores
    assert host.memory_total_mib > 0
    assert host.packages["reefl-edge"] == "0.1.0"

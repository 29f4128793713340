"""What is said of a device that nobody measured, and what is left to what was measured."""

from dataclasses import replace
from pathlib import Path

import pytest

from reefl_edge.devices.host import describe_host
from reefl_edge.profiling.report import Report
from reefl_edge.submodel import Submodel
from reefl_edge.tasks.estimating import estimate_model, shipped_reports
from reefl_edge.tasks.models import open_model
from reefl_edge.tasks.profiling import ProfileRequest
from tests.fakes.devices import HOST
from tests.fakes.measurements import report, row

EAGER = ProfileRequest(runtime="eager", threads=1, regime=None)


def measured_here(submodel: Submodel, *exits: int) -> Report:
    """Return a report of this machine, whose exits take 2 ms more each."""
    rows = tuple(row(exit_index, 2.0 * (exit_index + 1)) for exit_index in exits)
    context = replace(report(*rows).context, host=describe_host(), submodel=submodel)
    return Report(context=context, rows=rows)


def test_a_device_nobody_has_is_predicted_from_its_profile_and_says_so(
    checkpoint_path: Path,
) -> None:
    predicted = estimate_model(open_model(checkpoint_path), device="pixel7")

    assert predicted.rows == ()
    assert not predicted.context.is_real_hardware
    assert predicted.context.device == "pixel7"
    assert predicted.context.host.memory_total_mib == 8192
    assert [(each.kind, each.exit_index) for each in predicted.predictions] == [
        ("inference", 0),
        ("inference", 1),
        ("step", 0),
        ("step", 1),
    ]
    assert {each.basis for each in predicted.predictions} == {"profile"}
    assert {each.threads for each in predicted.predictions} == {4}  # without its efficient cores


def test_what_was_measured_stays_and_the_rest_is_filled(checkpoint_path: Path) -> None:
    model = open_model(checkpoint_path)
    report = measured_here(model.checkpoint.submodel, 0)

    filled = estimate_model(model, EAGER, device="local", reports=[report])

    assert filled.rows == report.rows
    assert filled.context.is_real_hardware
    (prediction,) = filled.predictions
    assert (prediction.exit_index, prediction.basis) == (1, "model")
    assert prediction.p90_ms.value > report.rows[0].summary.p90_ms


def test_a_model_that_is_cut_takes_only_the_rows_up_to_its_deepest_exit(
    checkpoint_path: Path,
) -> None:
    model = open_model(checkpoint_path)
    report = measured_here(model.checkpoint.submodel, 0, 1)

    filled = estimate_model(model.cut(0), EAGER, device="local", reports=[report])

    assert filled.rows == report.rows[:1]
    assert filled.predictions == ()


def test_of_steps_of_two_regimes_the_one_asked_for_counts_in_any_order(
    checkpoint_path: Path,
) -> None:
    model = open_model(checkpoint_path)
    inference = measured_here(model.checkpoint.submodel, 0, 1)
    wanted = row(0, 9.0, kind="step", regime="frozen", batch_size=32)
    others = [replace(wanted, regime="full"), replace(wanted, batch_size=8)]
    reports = [replace(inference, rows=(step,)) for step in (*others, wanted)]
    asked = replace(EAGER, regime="frozen", batch_size=32)

    filled = estimate_model(model, asked, device="local", reports=[inference, *reports])
    turned = estimate_model(model, asked, device="local", reports=[*reversed(reports), inference])

    assert filled.rows_of("step") == turned.rows_of("step") == (wanted,)


def test_a_filled_report_is_of_the_model_asked_for_on_the_machine_that_measured(
    checkpoint_path: Path,
) -> None:
    model = open_model(checkpoint_path)
    report = measured_here(model.checkpoint.submodel, 0)
    other = replace(report, context=replace(report.context, model="other", weights="0" * 64))
    unused = replace(other, rows=(row(0, 2.0, threads=2),))

    filled = estimate_model(model, EAGER, device="local", reports=[unused, other])
    alone = estimate_model(model, EAGER, device="local", reports=[unused])

    assert (filled.context.model, filled.context.weights) == (
        alone.context.model,
        alone.context.weights,
    )
    assert filled.context.measured_at == other.context.measured_at
    assert filled.context.is_real_hardware
    assert not alone.context.is_real_hardware


def test_rows_of_other_threads_or_of_another_device_are_not_this_ones(
    checkpoint_path: Path,
) -> None:
    model = open_model(checkpoint_path)
    report = measured_here(model.checkpoint.submodel, 0, 1)
    elsewhere = replace(report, context=replace(report.context, device="pixel8"))

    other_threads = estimate_model(
        model, replace(EAGER, threads=2), device="local", reports=[report]
    )
    other_device = estimate_model(model, EAGER, device="pixel7", reports=[elsewhere])

    assert other_threads.rows == other_device.rows == ()
    assert {each.basis for each in other_threads.predictions} == {"model"}
    assert {each.basis for each in other_device.predictions} == {"profile"}


def test_a_board_without_a_profile_is_what_its_own_report_says(checkpoint_path: Path) -> None:
    model = open_model(checkpoint_path)
    report = measured_here(model.checkpoint.submodel, 0)
    on_board = replace(row(0, 2.0), device="ssh:pi@board")
    context = replace(report.context, device="ssh:pi@board", host=HOST)
    board = replace(report, context=context, rows=(on_board,))

    filled = estimate_model(model, EAGER, device="ssh:pi@board", reports=[report, board])

    assert filled.rows == (on_board,)
    assert (filled.context.device, filled.context.host) == ("ssh:pi@board", HOST)
    (prediction,) = filled.predictions
    assert (prediction.device, prediction.basis) == ("ssh:pi@board", "model")
    with pytest.raises(ValueError, match="no device is called 'ssh:pi@board'"):
        estimate_model(model, EAGER, device="ssh:pi@board", reports=[report])


def test_memory_nobody_could_look_up_is_asked_for(checkpoint_path: Path) -> None:
    model = open_model(checkpoint_path)

    with pytest.raises(ValueError, match=r"Raspberry Pi 4 .*: say which with --memory-mib"):
        estimate_model(model, device="rpi4")

    told = estimate_model(model, device="rpi4", memory_mib=4096)
    assert told.context.host.memory_total_mib == 4096


def test_more_threads_than_it_has_cores_are_refused(checkpoint_path: Path) -> None:
    with pytest.raises(ValueError, match="16"):
        estimate_model(open_model(checkpoint_path), ProfileRequest(threads=16), device="pixel7")


def test_what_comes_along_is_of_real_machines_and_of_all_that_profile_measures() -> None:
    reports = shipped_reports()

    assert all(each.context.is_real_hardware for each in reports)
    measured = {(row.runtime, row.precision, row.kind) for each in reports for row in each.rows}
    assert measured >= {
        ("onnx", "fp32", "inference"),
        ("onnx", "int8-dynamic", "inference"),
        ("eager", "fp32", "step"),
    }

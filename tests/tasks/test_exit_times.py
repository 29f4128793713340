"""Which times of a report thresholds may be calibrated with."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from reefl_edge.bundles.bundle import Bundle
from reefl_edge.errors import InputError
from reefl_edge.profiling.report import Report
from reefl_edge.tasks.exit_times import reported_exit_ms
from tests.fakes.bundles import listed_artifact, tiny_manifest
from tests.fakes.measurements import report, row

ONNX = listed_artifact("onnx")
BUNDLE = Bundle(Path("bundle"), tiny_manifest(ONNX))


def timed(*latencies_ms: float | Sequence[float]) -> Report:
    """Return a report of the bundle's network, one latency for each exit."""
    rows = [
        replace(row(exit_index, latency_ms), runtime="onnx")
        for exit_index, latency_ms in enumerate(latencies_ms)
    ]
    context = replace(report(*rows).context, submodel=BUNDLE.manifest.submodel)
    return Report(context=context, rows=tuple(rows))


def num_exits() -> int:
    return BUNDLE.manifest.submodel.num_exits


def test_exits_take_as_long_as_the_report_of_the_device_says() -> None:
    latencies = [2.0 * (index + 1) for index in range(num_exits())]

    assert reported_exit_ms(timed(*latencies), BUNDLE, ONNX).tolist() == latencies


def test_the_times_of_an_emulation_are_refused() -> None:
    found = timed(*[2.0] * num_exits())
    context = replace(found.context, device="emu:pixel7", is_real_hardware=False)

    with pytest.raises(InputError, match=r"is of emu:pixel7, an emulation, whose time is not the"):
        reported_exit_ms(replace(found, context=context), BUNDLE, ONNX)


def test_times_that_are_not_valid_are_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    drifting = [float(index + 1) for index in range(10)]
    found = timed(*[drifting] * num_exits())
    assert found.rows[0].summary.verdict != "valid"

    with caplog.at_level(logging.WARNING):
        reported_exit_ms(found, BUNDLE, ONNX)

    assert f"the report, exit 0: {found.rows[0].summary.verdict}: " in caplog.text

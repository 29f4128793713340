"""Figures from samples, against values found by hand."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reefl_edge.jobs.disturbances import Disturbances
from reefl_edge.jobs.outcome import Sitting
from reefl_edge.profiling.summary import summarise
from tests.fakes.measurements import measurement


def test_percentiles_lie_between_the_samples() -> None:
    summary = summarise(measurement([10, 1, 9, 2, 8, 3, 7, 4, 6, 5]), threads=1)

    assert (summary.num_samples, summary.min_ms, summary.mean_ms) == (10, 1, 5.5)
    assert summary.p50_ms == 5.5
    assert summary.p90_ms == pytest.approx(9.1)  # a tenth of the way from 9 to 10
    assert summary.p95_ms == pytest.approx(9.55)
    assert summary.p99_ms == pytest.approx(9.91)


def test_memory_is_the_peak_above_the_process_s_own_level() -> None:
    assert summarise(measurement(1.0, memory_mib=12.5), threads=1).peak_above_baseline_mib == 12.5


@given(st.lists(st.floats(0.01, 1e4), min_size=1, max_size=40))
def test_the_figures_are_in_order(samples: list[float]) -> None:
    summary = summarise(measurement(samples), threads=1)

    assert summary.min_ms <= summary.p50_ms <= summary.p90_ms <= summary.p95_ms <= summary.p99_ms
    assert summary.p50_low_ms <= summary.p50_high_ms
    assert summary.p90_low_ms <= summary.p90_high_ms


def test_where_percentiles_lie_stands_around_them() -> None:
    summary = summarise(measurement([1.0, 2.0, 3.0, 4.0, 5.0] * 4), threads=1)

    assert summary.p50_low_ms < summary.p50_ms < summary.p50_high_ms
    assert summary.p90_low_ms < summary.p90_ms <= summary.p90_high_ms == 5


def test_processes_that_disagree_leave_the_median_open() -> None:
    samples = measurement([1.0] * 10 + [2.0] * 10)
    sitting = Sitting(num_samples=10, load_ms=5.0, first_run_ms=7.0, disturbances=Disturbances())

    summary = summarise(replace(samples, sittings=(sitting, sitting)), threads=1)

    assert (summary.p50_low_ms, summary.p50_high_ms) == (1, 2)

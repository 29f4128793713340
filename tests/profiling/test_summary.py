"""Figures from samples, against values found by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reefl_edge.profiling.summary import summarise
from tests.fakes.measurements import measurement


def test_percentiles_lie_between_the_samples() -> None:
    summary = summarise(measurement([10, 1, 9, 2, 8, 3, 7, 4, 6, 5]))

    assert (summary.num_samples, summary.min_ms, summary.mean_ms) == (10, 1, 5.5)
    assert summary.p50_ms == 5.5
    assert summary.p90_ms == pytest.approx(9.1)  # a tenth of the way from 9 to 10
    assert summary.p95_ms == pytest.approx(9.55)
    assert summary.p99_ms == pytest.approx(9.91)


def test_memory_is_the_peak_above_the_process_s_own_level() -> None:
    assert summarise(measurement(1.0, memory_mib=12.5)).peak_above_baseline_mib == 12.5


@given(st.lists(st.floats(0.01, 1e4), min_size=1, max_size=40))
def test_the_figures_are_in_order(samples: list[float]) -> None:
    summary = summarise(measurement(samples))

    assert summary.min_ms <= summary.p50_ms <= summary.p90_ms <= summary.p95_ms <= summary.p99_ms
    assert summary.p50_low_ms <= summary.p50_high_ms


def test_equal_samples_are_valid() -> None:
    summary = summarise(measurement([2.0] * 9))

    assert (summary.validity, summary.reason) == ("valid", None)


@pytest.mark.parametrize(
    ("samples", "reason"),
    [
        ([1.0] * 4, "too few samples: 4, need 5"),
        ([1.0] * 3 + [1.1] * 3 + [1.2] * 3, "drift: the last third of the samples takes +20%"),
        ([1.2] * 3 + [1.1] * 3 + [0.9] * 3, "drift: the last third of the samples takes -25%"),
        ([1.0, 1.0, 1.0, 1.5] * 3, "spread: the p90 lies 50% above the p50"),
    ],
)
def test_samples_that_disagree_are_noisy(samples: list[float], reason: str) -> None:
    summary = summarise(measurement(samples))

    assert summary.validity == "noisy"
    assert summary.reason is not None
    assert summary.reason.startswith(reason)

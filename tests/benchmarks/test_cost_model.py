"""Is what the cost model is told kept apart from what it is asked, and is a miss counted as one?"""

from dataclasses import replace

import pytest

from benchmarks.cost_model import bars, compared, evaluated, is_asked, is_told, is_valid, only
from benchmarks.sections.cost_model import section
from reefl_edge import schema
from reefl_edge.profiling.prediction import Estimate
from reefl_edge.profiling.report import Report, run_cost
from tests.fakes import measurements
from tests.fakes.devices import HOST
from tests.fakes.submodels import tiny_submodel


def measured(num_blocks: int, *, exits: int = 4, slower: float = 1.0) -> Report:
    """Return a report of a machine that is as fast on every thread."""
    submodel = tiny_submodel(num_blocks=num_blocks, num_exits=exits)
    rows = []
    for threads in (1, 2):
        for index in range(exits):
            cost = run_cost(submodel, index, kind="inference", batch_size=1, regime=None)
            rows.append(
                measurements.row(index, slower * cost.macs / 1e5, memory_mib=5, threads=threads)
            )
    context = replace(measurements.report(*rows).context, submodel=submodel)
    return Report(context=context, rows=tuple(rows))


def test_what_is_asked_is_all_that_is_not_told() -> None:
    report = measured(12)

    told, asked = only(report, is_told), only(report, is_asked)

    assert {(row.exit_index, row.threads) for row in told.rows} == {(0, 1), (3, 1), (0, 2)}
    assert {*told.rows} | {*asked.rows} == {*report.rows}
    assert not {*told.rows} & {*asked.rows}


def test_a_machine_that_keeps_to_its_pace_is_predicted_and_one_that_does_not_is_not() -> None:
    reports = [measured(4), measured(8), measured(12)]
    other = measured(16, slower=5.0)

    (steady,) = evaluated(reports[:2], reports[2:])
    (slower,) = evaluated(reports, [other])

    assert steady["predicted"] == 8
    assert steady["p50_ms"]["inside"] == 8
    assert steady["p50_ms"]["median_error"] < 0.1
    assert slower["p50_ms"]["inside"] == 0
    assert slower["p50_ms"]["median_error"] == pytest.approx(0.8, abs=0.1)


def test_a_figure_outside_its_interval_is_counted_and_breaks_the_bar() -> None:
    estimate = Estimate(value=10, low=8, high=12)

    pairs = compared([(11.0, estimate), (20.0, estimate)])

    assert pairs["inside"] == 1
    assert pairs["largest_error"] == pytest.approx(0.5)
    row = {"predicted": 2, "p50_ms": pairs, "p90_ms": pairs, "memory_mib": pairs}
    assert [bar["holds"] for bar in bars({"other exits": [row]})] == [False] * 3


def test_disturbed_rows_are_on_neither_side() -> None:
    report = measurements.report(measurements.row(0, 1.0), measurements.row(1, [1.0, 50.0] * 10))

    assert [row.exit_index for row in only(report, is_valid).rows] == [0]


def test_the_section_says_how_many_of_how_many_lie_inside() -> None:
    tables = {"other exits": evaluated([measured(4), measured(8)], [measured(12)])}
    document = {
        "host": schema.to_dict(HOST),
        "settings": {},
        "measured_at": "2026-01-31T12:00:00+00:00",
        "bars": [*bars(tables)],
        "predicted": tables,
    }

    shown = section(document)

    assert "| 8 of 8 |" in shown
    assert "**Other exits.**" in shown

"""Verdicts, on samples that were recorded on a machine and on some that were made up.

``recorded/`` holds what processes found on a quiet machine and beside busy loops. No machine that
throttles was at hand: its samples are made up, from what heat does to a phone.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reefl_edge import schema
from reefl_edge.jobs.disturbances import Disturbances
from reefl_edge.jobs.outcome import Measurement, Sitting
from reefl_edge.profiling.summary import summarise
from reefl_edge.profiling.verdict import Verdict
from tests.fakes.measurements import measurement

RECORDED = Path(__file__).parent / "recorded"


def recorded(name: str) -> list[Any]:
    rows = json.loads((RECORDED / f"{name}.json").read_text())["rows"]
    return [
        pytest.param(
            schema.from_json(Measurement, json.dumps(row["measurement"]), source=name),
            row["threads"],
            id=f"{row['what']} on {row['threads']}",
        )
        for row in rows
    ]


def verdict_of(taken: Measurement, threads: int = 1) -> tuple[Verdict, str | None]:
    summary = summarise(taken, threads=threads)
    return summary.verdict, summary.reason


def sat(
    *sittings: list[float], work: float = 1.0, waits: float | None = 0.0, **disturbed: float
) -> Measurement:
    """Return what processes took, each a list of samples, all beside the same disturbances."""
    samples = [sample for sitting in sittings for sample in sitting]
    return replace(
        measurement(samples),
        cpu_ms_samples=tuple(work * sample for sample in samples),
        wait_ms_samples=None if waits is None else tuple(waits * sample for sample in samples),
        sittings=tuple(
            Sitting(
                num_samples=len(sitting),
                load_ms=5.0,
                first_run_ms=7.0,
                disturbances=Disturbances(**disturbed),
            )
            for sitting in sittings
        ),
    )


STEADY = [10.0, 10.1, 9.9, 10.0, 10.2, 9.8, 10.0, 10.1, 9.9, 10.0]


@pytest.mark.parametrize(("taken", "threads"), recorded("quiet"))
def test_samples_of_a_quiet_machine_are_valid(taken: Measurement, threads: int) -> None:
    assert verdict_of(taken, threads) == ("valid", None)


@pytest.mark.parametrize(
    ("taken", "threads"), [*recorded("one-busy-loop"), *recorded("busy-loops")]
)
def test_samples_beside_busy_loops_are_contended(taken: Measurement, threads: int) -> None:
    verdict, reason = verdict_of(taken, threads)

    assert verdict == "contended"
    assert reason is not None
    assert reason.startswith("other processes")


@pytest.mark.parametrize(
    ("taken", "threads"), [*recorded("one-busy-loop"), *recorded("busy-loops")]
)
def test_waiting_tells_of_busy_loops_on_the_same_cores_where_others_are_not_counted(
    taken: Measurement, threads: int
) -> None:
    own_core_was_shared = (taken.sittings[0].disturbances.others_share or 0) > 0.1
    silent = replace(
        taken,
        sittings=tuple(replace(each, disturbances=Disturbances()) for each in taken.sittings),
    )

    assert (verdict_of(silent, threads)[0] == "contended") == own_core_was_shared


@pytest.mark.parametrize(
    ("taken", "reason"),
    [
        (sat(STEADY, others_share=0.06), "other processes took 6% of the time of its cores"),
        (sat(STEADY, stolen_share=0.03), "other virtual machines took 3% of the time"),
        (sat(STEADY, busy_elsewhere=0.8), "kept 0.8 of the device's other cores busy"),
        (sat(STEADY, waits=0.1), "in 100% of the runs, threads waited for a core"),
        (sat(STEADY, work=0.8, waits=None), "its one thread worked only 80% of the time"),
    ],
)
def test_each_sign_of_others_is_enough(taken: Measurement, reason: str) -> None:
    verdict, said = verdict_of(taken)

    assert verdict == "contended"
    assert reason in (said or "")


def test_one_disturbed_process_of_three_is_enough() -> None:
    quiet = sat(STEADY, STEADY, STEADY, others_share=0.0)
    first, second, third = quiet.sittings
    disturbed = replace(second, disturbances=Disturbances(others_share=0.4))

    assert verdict_of(replace(quiet, sittings=(first, disturbed, third)))[0] == "contended"


def throttling(*, starts_ms: float, ends_ms: float) -> list[float]:
    """Return runs that take longer and longer, with a little noise on top."""
    noise = np.random.default_rng(0).normal(1, 0.01, 20)
    return [float(value) for value in np.linspace(starts_ms, ends_ms, 20) * noise]


@pytest.mark.parametrize(
    "taken",
    [
        pytest.param(sat(throttling(starts_ms=10, ends_ms=14)), id="within a process"),
        pytest.param(
            sat(*[throttling(starts_ms=10, ends_ms=13)] * 3), id="again after each cool-down"
        ),
        pytest.param(sat(STEADY, [12.0] * 10, [15.0] * 10), id="from process to process"),
        pytest.param(sat(STEADY, first_mhz=2800.0, last_mhz=1900.0), id="by its clock"),
    ],
)
def test_a_device_that_slows_down_is_throttled(taken: Measurement) -> None:
    assert verdict_of(taken)[0] == "throttled"


def test_a_throttled_row_says_how_much_it_lost() -> None:
    slower = verdict_of(sat(STEADY, [12.0] * 10, [15.0] * 10))
    lower = verdict_of(sat(STEADY, first_mhz=2800.0, last_mhz=1900.0))

    assert slower[1] == "runs took +50% at the end against the beginning, and +50% of work"
    assert lower[1] == "the clock fell from 2800 to 1900 MHz"


@pytest.mark.parametrize(
    ("taken", "reason"),
    [
        (measurement([1.0] * 4), "too few samples: 4, need 5"),
        (measurement([1.3] * 3 + [1.1] * 3 + [1.0] * 3), "drift: runs took -23% at the end"),
        (sat([10.0] * 10, [13.0] * 10, [10.0] * 10), "the median lies anywhere from 10 to 13 ms"),
        (measurement([1.0, 1.0, 1.0, 1.0, 1.8] * 3), "the p90 lies anywhere from 1 to 1.8 ms"),
    ],
)
def test_samples_that_say_too_little_are_noisy(taken: Measurement, reason: str) -> None:
    verdict, said = verdict_of(taken)

    assert verdict == "noisy"
    assert (said or "").startswith(reason)


def test_runs_that_wait_longer_but_work_the_same_are_not_throttled() -> None:
    slower = sat(STEADY, [15.0] * 10, waits=None)
    same_work = replace(slower, cpu_ms_samples=(10.0,) * 20)

    assert verdict_of(same_work, threads=2)[0] == "noisy"


def test_equal_samples_are_valid() -> None:
    assert verdict_of(measurement([2.0] * 9)) == ("valid", None)

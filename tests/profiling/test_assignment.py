"""How deep each device of a fleet may go."""

from dataclasses import replace
from pathlib import Path

import pytest

from reefl_edge.errors import BudgetError, InputError, MeasurementError
from reefl_edge.profiling.assignment import (
    Assignment,
    DeviceAssignment,
    assign_exits,
    read_assignment,
    write_assignment,
)
from reefl_edge.profiling.budget import Budget, RoundBudget
from reefl_edge.profiling.choose import choose_exit
from reefl_edge.profiling.report import Report
from tests.fakes.measurements import report, row
from tests.fakes.submodels import tiny_submodel


def device(*, slowness: float = 1.0, memory_mib: float = 50.0, num_exits: int = 4) -> Report:
    """Return what a device found that takes so many times longer than another."""
    inference = [row(index, slowness * 10 * (index + 1)) for index in range(num_exits)]
    steps = [
        row(
            index,
            slowness * 100 * (index + 1),
            kind="step",
            memory_mib=memory_mib * (index + 1),
            regime="frozen",
        )
        for index in range(num_exits)
    ]
    return report(*inference, *steps)


def round_of(deadline_s: float, *, examples: int = 320, mbps: float = 1000.0) -> RoundBudget:
    return RoundBudget(
        deadline_s=deadline_s,
        examples_per_round=examples,
        uplink_mbps=mbps,
        downlink_mbps=mbps,
    )


FLEET = {"fast": device(), "slow": device(slowness=4.0), "small": device(memory_mib=100)}


def by_device(assignment: Assignment) -> dict[str, int | None]:
    return {each.device: each.max_exit for each in assignment.devices}


def test_each_device_goes_as_deep_as_inference_training_and_memory_allow() -> None:
    budget = Budget(inference_ms=100, step_ms=1000, memory_mib=250)

    assignment = assign_exits(FLEET, budget)

    assert by_device(assignment) == {"fast": 3, "slow": 1, "small": 1}
    fast, slow, small = assignment.devices
    assert fast.deeper == ()
    assert slow.deeper[0] == (
        "exit 2: inference p90 up to 120 ms exceeds 100 ms, step p90 up to 1200 ms exceeds 1000 ms"
    )
    assert small.deeper == (
        "exit 2: memory 300 MiB exceeds 250 MiB",
        "exit 3: memory 400 MiB exceeds 250 MiB",
    )


@pytest.mark.parametrize("name", FLEET)
def test_a_device_is_decided_as_a_profile_decides_it(name: str) -> None:
    budget = Budget(inference_ms=100, step_ms=1000, memory_mib=250)

    assigned = by_device(assign_exits(FLEET, budget))[name]

    assert assigned == choose_exit(FLEET[name], budget).exit_index


def test_a_round_takes_both_transfers_the_load_and_every_step() -> None:
    submodel = tiny_submodel(num_exits=4).cut(1).with_regime("frozen")
    num_bytes = 4 * sum(spec.num_elements for spec in submodel.trained_arrays())
    asked = RoundBudget(
        deadline_s=600, examples_per_round=100, uplink_mbps=0.001, downlink_mbps=0.004
    )

    (assigned,) = assign_exits({"one": device()}, Budget(round=asked)).devices

    time = assigned.exits[1].round_time
    assert time is not None
    assert time.upload_s == pytest.approx(num_bytes * 8 / 1000)
    assert time.download_s == pytest.approx(num_bytes * 8 / 4000)
    assert time.load_s == pytest.approx(0.005)
    assert time.train_s == pytest.approx(4 * 0.2)  # 32 images a step
    need = next(need for need in assigned.exits[1].needs if need.limit == "round")
    assert (need.amount, need.allowed, need.unit) == (time.total_s, 600, "s")


def test_a_first_step_that_takes_longer_counts_once() -> None:
    slow_start = row(0, 100.0, kind="step", regime="frozen")
    slow_start = replace(
        slow_start, measurement=replace(slow_start.measurement, first_run_ms=700.0)
    )

    (assigned,) = assign_exits(
        {"one": report(slow_start)}, Budget(round=round_of(60, examples=64))
    ).devices

    assert assigned.exits[0].round_time is not None
    assert assigned.exits[0].round_time.train_s == pytest.approx(0.8)


def test_deeper_exits_take_longer_to_send() -> None:
    adapted = report(*(row(index, 1.0, kind="step", regime="lora") for index in range(4)))

    (assigned,) = assign_exits({"one": adapted}, Budget(round=round_of(60, mbps=0.01))).devices

    uploads = [each.round_time.upload_s for each in assigned.exits if each.round_time is not None]
    assert uploads == sorted(set(uploads))


def test_other_deadlines_are_looked_at_beside_the_one_that_is_asked_for() -> None:
    assignment = assign_exits(FLEET, Budget(round=round_of(8.5)))

    assert by_device(assignment) == {"fast": 3, "slow": 1, "small": 3}
    assert [each.deadline_s for each in assignment.what_if] == [
        *(2.125, 4.25, 6.375, 8.5, 12.75, 17.0, 34.0)
    ]
    asked = assignment.what_if[3]
    assert asked.max_exits == by_device(assignment)
    assert (asked.num_at(3), asked.num_at(1), asked.num_at(None)) == (2, 1, 0)
    assert assignment.what_if[0].max_exits == {"fast": 1, "slow": None, "small": 1}
    assert assign_exits(FLEET, Budget(inference_ms=100)).what_if == ()


def test_a_device_that_meets_nothing_stands_aside_unless_all_do() -> None:
    budget = Budget(inference_ms=20)

    assert by_device(assign_exits(FLEET, budget)) == {"fast": 1, "slow": None, "small": 1}
    with pytest.raises(
        BudgetError, match="fast: no exit runs within 5 ms; exit 0 needs up to 10 ms, and so for 2"
    ):
        assign_exits(FLEET, Budget(inference_ms=5))


def test_what_is_not_valid_is_refused_with_the_device_or_accepted_and_kept() -> None:
    noisy = report(row(0, [1.0, 1.0, 1.0, 1.0, 1.8] * 3))
    budget = Budget(inference_ms=5)

    with pytest.raises(MeasurementError, match=r"pi: the choice would rest on .*: exit 0, infer"):
        assign_exits({"pi": noisy}, budget)
    (accepted,) = assign_exits({"pi": noisy}, budget, accept_noisy=True).devices
    assert accepted.max_exit == 0
    assert accepted.doubts[0].startswith("exit 0, inference: noisy (the p90 lies anywhere")


@pytest.mark.parametrize(
    ("reports", "budget", "message"),
    [
        ({}, Budget(inference_ms=5), "there is no report"),
        (
            {"pi": report(row(0, 1.0))},
            Budget(round=round_of(9)),
            "pi: the report measures no fine-tuning step of exit 0: a round has no time",
        ),
        (
            {"pi": report(row(0, 1.0, kind="step"))},
            Budget(round=round_of(9)),
            "pi: the report measures a step of an unknown regime of exit 0",
        ),
        (
            {"pi": report(row(0, 1.0)), "phone": report(row(0, 1.0, kind="step"))},
            Budget(inference_ms=5),
            "phone: the report measures no inference up to exit 0",
        ),
    ],
)
def test_reports_that_do_not_answer_are_refused(
    reports: dict[str, Report], budget: Budget, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        assign_exits(reports, budget)


def of_model(measured: Report, **changes: object) -> Report:
    return replace(measured, context=replace(measured.context, **changes))  # type: ignore[arg-type]


def test_reports_of_different_models_are_refused() -> None:
    other = of_model(device(num_exits=2), submodel=tiny_submodel(num_blocks=2))
    weights = [of_model(device(), weights=name * 64) for name in "ab"]

    with pytest.raises(ValueError, match="pi is of another model than fast: num_blocks 2, not 4"):
        assign_exits({"fast": device(), "pi": other}, Budget(inference_ms=99))
    with pytest.raises(ValueError, match="b is of another model than a: weights bbbbbbbbbbbb, not"):
        assign_exits(dict(zip("ab", weights, strict=True)), Budget(inference_ms=99))
    mixed = {"random": device(), "trained": weights[0]}
    assert by_device(assign_exits(mixed, Budget(inference_ms=99))) == {"random": 3, "trained": 3}


@pytest.mark.parametrize("name", ["deadline_s", "uplink_mbps", "downlink_mbps"])
@pytest.mark.parametrize("value", [0, -1.0, float("nan"), float("inf")])
def test_a_round_is_of_positive_numbers(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name} must be positive"):
        replace(round_of(9), **{name: value})  # type: ignore[arg-type]


def test_an_assignment_is_written_and_read_again(tmp_path: Path) -> None:
    assignment = assign_exits(FLEET, Budget(inference_ms=100, round=round_of(8.5)))

    write_assignment(assignment, tmp_path / "assignment.json")

    assert read_assignment(tmp_path / "assignment.json") == assignment
    (tmp_path / "assignment.json").write_text("{}")
    with pytest.raises(InputError, match=r"assignment\.json: "):
        read_assignment(tmp_path / "assignment.json")


def test_a_device_is_named_once_and_assigned_an_exit_it_has() -> None:
    assignment = assign_exits({"fast": device()}, Budget(inference_ms=100))
    (fast,) = assignment.devices

    with pytest.raises(ValueError, match="names fast twice"):
        replace(assignment, devices=(fast, fast))
    with pytest.raises(ValueError, match="fast is assigned exit 9, which it has not"):
        replace(fast, max_exit=9)
    with pytest.raises(ValueError, match="names no device"):
        replace(assignment, devices=())
    assert isinstance(fast, DeviceAssignment)

"""Which exit a budget allows, and why."""

from dataclasses import replace
from math import inf, nan
from typing import Any

import pytest

from reefl_edge.errors import BudgetError, MeasurementError
from reefl_edge.profiling.budget import Budget
from reefl_edge.profiling.choose import choose_exit
from reefl_edge.profiling.report import Report
from tests.fakes.measurements import prediction, report, row

MEASURED = report(
    row(0, 4.1, memory_mib=20),
    row(1, 8.0, memory_mib=30),
    row(2, 12.5, memory_mib=40),
    row(0, 140, kind="step", memory_mib=80.25),
    row(1, 250, kind="step", memory_mib=120),
    row(2, 1234.5, kind="step", memory_mib=160),
)


def test_without_a_limit_the_deepest_exit_is_chosen() -> None:
    choice = choose_exit(MEASURED, Budget())

    assert choice.exit_index == 2
    assert choice.reasons[2] == "exit 2 fits: nothing is limited"


@pytest.mark.parametrize(
    ("budget", "exit_index", "why_not"),
    [
        (
            Budget(inference_ms=8),
            1,
            "exit 2 does not fit: inference p90 up to 12.5 ms exceeds 8 ms",
        ),
        (Budget(step_ms=300), 1, "exit 2 does not fit: step p90 up to 1234 ms exceeds 300 ms"),
        (Budget(memory_mib=100), 0, "exit 1 does not fit: memory 120 MiB exceeds 100 MiB"),
        (
            Budget(inference_ms=5, step_ms=200),
            0,
            "exit 1 does not fit: inference p90 up to 8 ms exceeds 5 ms, step p90 up to 250 ms "
            "exceeds 200 ms",
        ),
        (Budget(inference_ms=100, step_ms=2000, memory_mib=512), 2, None),
    ],
)
def test_the_deepest_exit_within_every_limit_is_chosen(
    budget: Budget, exit_index: int, why_not: str | None
) -> None:
    choice = choose_exit(MEASURED, budget)

    assert choice.exit_index == exit_index
    assert len(choice.reasons) == 3
    if why_not is not None:
        assert choice.reasons[exit_index + 1] == why_not


def test_the_reason_says_what_an_exit_takes_of_every_limit() -> None:
    choice = choose_exit(MEASURED, Budget(inference_ms=10, step_ms=200, memory_mib=100))

    assert choice.reasons[0] == (
        "exit 0 fits: inference p90 up to 4.1 ms of 10 ms, step p90 up to 140 ms of 200 ms, "
        "memory 80.25 MiB of 100 MiB"
    )


def test_the_upper_end_of_the_p90_counts_not_the_p90() -> None:
    measured = report(row(0, [1.0] * 45 + [1.2] * 5))
    summary = measured.rows[0].summary
    assert summary.p90_ms < 1.1 < summary.p90_high_ms

    with pytest.raises(BudgetError, match=r"no exit runs within 1\.1 ms; exit 0 needs up to 1\.2"):
        choose_exit(measured, Budget(inference_ms=1.1))
    assert Budget.relative(measured, 0.5) == Budget(inference_ms=0.6)


NOISY = [1.0, 1.0, 1.0, 1.0, 1.8] * 3


@pytest.mark.parametrize(
    ("measured", "budget", "where"),
    [
        (report(row(0, NOISY), row(1, 9.0)), Budget(inference_ms=20), "exit 0, inference"),
        (report(row(0, NOISY)), Budget(inference_ms=0.1), "exit 0, inference"),
        (report(row(0, 1.0), row(1, NOISY)), Budget(inference_ms=1.5), "exit 1, inference"),
        (report(row(0, NOISY, kind="step")), Budget(step_ms=20), "exit 0, step"),
    ],
)
def test_a_choice_rests_on_valid_measurements_or_on_an_order(
    measured: Report, budget: Budget, where: str
) -> None:
    with pytest.raises(MeasurementError) as caught:
        choose_exit(measured, budget)

    assert str(caught.value).startswith(
        f"the choice would rest on a measurement that is not valid: {where}: noisy (the p90 lies "
        "anywhere from"
    )
    assert str(caught.value).endswith("; measure again, or accept it with --accept-noisy")


def test_what_is_accepted_is_marked() -> None:
    measured = report(row(0, NOISY), row(1, NOISY), row(2, 9.0))

    choice = choose_exit(measured, Budget(inference_ms=8), accept_noisy=True)

    assert choice.exit_index == 1
    assert choice.reasons[1] == "exit 1 fits: inference p90 up to 1.8 ms of 8 ms (noisy)"


def test_what_a_choice_does_not_rest_on_may_be_noisy() -> None:
    deeper = report(row(0, 4.0), row(1, 9.0), row(2, NOISY))
    not_limited = report(row(0, 4.0), row(0, NOISY, kind="step"))

    assert choose_exit(deeper, Budget(inference_ms=8)).exit_index == 0
    assert choose_exit(not_limited, Budget(inference_ms=8, memory_mib=64)).exit_index == 0


@pytest.mark.parametrize(
    ("budget", "message"),
    [
        (Budget(inference_ms=3), "no exit runs within 3 ms; exit 0 needs up to 4.1 ms"),
        (Budget(step_ms=100), "no exit takes a step within 100 ms; exit 0 needs up to 140 ms"),
        (Budget(memory_mib=64), "no exit fits in 64 MiB; exit 0 needs 80.25 MiB"),
        (
            Budget(inference_ms=3, step_ms=200, memory_mib=64),
            "no exit runs within 3 ms and fits in 64 MiB; exit 0 needs up to 4.1 ms and 80.25 MiB",
        ),
    ],
)
def test_a_budget_no_exit_meets_says_what_the_shallowest_needs(
    budget: Budget, message: str
) -> None:
    with pytest.raises(BudgetError) as caught:
        choose_exit(MEASURED, budget)
    assert str(caught.value) == message


def test_a_deeper_exit_that_fits_where_a_shallower_does_not_is_not_taken() -> None:
    odd = report(row(0, 4.0), row(1, 9.0), row(2, 7.0))

    choice = choose_exit(odd, Budget(inference_ms=8))

    assert choice.exit_index == 0
    assert choice.reasons[2] == (
        "exit 2 fits by its own figures, but does all that exit 1 does, which does not fit: "
        "measure again"
    )


def test_memory_is_limited_without_steps_too() -> None:
    assert choose_exit(report(row(0, 4.0, memory_mib=20)), Budget(memory_mib=20)).exit_index == 0


def test_where_training_is_limited_only_an_exit_with_a_compiled_step_is_chosen() -> None:
    rows = (row(0, 4.0, memory_mib=20), row(1, 8.0, memory_mib=30))
    step = replace(row(1, 250, kind="step", memory_mib=120), runtime="onnx")
    measured = report(*rows, step)

    for budget in (Budget(step_ms=300), Budget(memory_mib=150)):
        choice = choose_exit(measured, budget)
        assert choice.exit_index == 1
        assert len(choice.reasons) == 1
    assert choose_exit(measured, Budget(inference_ms=5)).exit_index == 0
    with pytest.raises(BudgetError, match="exit 1 needs up to 250 ms"):
        choose_exit(measured, Budget(step_ms=200))
    with pytest.raises(BudgetError, match="no exit fits in 100 MiB; exit 1 needs 120 MiB"):
        choose_exit(measured, Budget(memory_mib=100))


@pytest.mark.parametrize(
    ("measured", "budget", "message"),
    [
        (report(row(0, 4.0)), Budget(step_ms=9), "measures no fine-tuning step of exit 0"),
        (report(row(0, 4.0, kind="step")), Budget(inference_ms=9), "no inference up to exit 0"),
        (
            report(row(0, 4.0), row(0, 3.0, threads=2)),
            Budget(inference_ms=9),
            "inference of exit 0 on more than one runtime or number of threads",
        ),
    ],
)
def test_a_report_that_does_not_answer_is_refused(
    measured: Report, budget: Budget, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        choose_exit(measured, budget)


@pytest.mark.parametrize("limit", [0, -1.0, inf, nan, 1e308])
@pytest.mark.parametrize("name", ["inference_ms", "step_ms", "memory_mib"])
def test_a_limit_must_be_positive(name: str, limit: float) -> None:
    limits: dict[str, Any] = {name: limit}

    with pytest.raises(ValueError, match=f"{name} must be positive"):
        Budget(**limits)


def test_a_relative_budget_is_a_fraction_of_the_deepest_exit_s_inference() -> None:
    budget = Budget.relative(MEASURED, 0.8)

    assert budget == Budget(inference_ms=10.0)
    assert choose_exit(MEASURED, budget).exit_index == 1


def test_a_relative_budget_needs_a_positive_fraction_of_something() -> None:
    with pytest.raises(ValueError, match="fraction must be positive, got 0"):
        Budget.relative(MEASURED, 0)
    with pytest.raises(ValueError, match="measures no inference"):
        Budget.relative(report(row(0, 4.0, kind="step")), 0.8)


def test_the_most_that_was_predicted_counts_and_the_reason_says_so() -> None:
    partly = replace(
        report(row(0, 4.0)),
        predictions=(prediction(1, (6.0, 8.0, 10.0)), prediction(2, (9.0, 12.0, 15.0))),
    )

    choice = choose_exit(partly, Budget(inference_ms=12, memory_mib=100))

    assert choice.exit_index == 1
    assert choice.reasons == (
        "exit 0 fits: inference p90 up to 4 ms of 12 ms, memory 10 MiB of 100 MiB",
        "exit 1 fits: inference p90 predicted to be at most 10 ms of 12 ms, "
        "memory predicted to be at most 20 MiB of 100 MiB",
        "exit 2 does not fit: inference p90 predicted to be at most 15 ms exceeds 12 ms",
    )


@pytest.mark.parametrize("budget", [Budget(inference_ms=10), Budget(step_ms=10)])
def test_the_time_of_an_emulation_is_held_against_nothing(budget: Budget) -> None:
    context = replace(MEASURED.context, device="emu:rpi4", is_real_hardware=False)
    emulated = replace(MEASURED, context=context)

    with pytest.raises(ValueError, match="emu:rpi4 is an emulation, whose time is not the device"):
        choose_exit(emulated, budget)

    assert choose_exit(emulated, Budget(memory_mib=100)).exit_index == 0

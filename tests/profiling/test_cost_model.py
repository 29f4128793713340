"""What reports say of exits, threads, models and devices that they did not measure."""

from dataclasses import replace

import pytest

from reefl_edge.devices.processor import Processor
from reefl_edge.jobs.job import Kind
from reefl_edge.profiling.cost_model import CostModel, Device, Question
from reefl_edge.profiling.prediction import Estimate
from reefl_edge.profiling.report import Context, Report, run_cost
from reefl_edge.submodel import Submodel
from tests.fakes import measurements
from tests.fakes.submodels import tiny_submodel

SLOW = Processor(
    core_gmacs=(10.0, 10.0),
    fastest_ghz=2.0,
    int8_gain=4,
    memory_gb_per_s=None,
    assumptions=(),
)
FAST = replace(SLOW, core_gmacs=(40.0, 40.0), fastest_ghz=8.0)
HERE = Device(name="local", cpu_name="a processor", processor=SLOW)
SHALLOW, DEEP = tiny_submodel(num_blocks=4), tiny_submodel(num_blocks=12, num_exits=4)


def a_machine_takes(
    submodel: Submodel, exit_index: int, threads: int, *, slower: float = 1
) -> float:
    """Return the milliseconds of a machine that reaches half of what is possible."""
    cost = run_cost(submodel, exit_index, kind="inference", batch_size=1, regime=None)
    products = cost.macs / SLOW.peak_gmacs(threads, "fp32") / 1e6
    return slower * (2 * products + 0.01 * (exit_index + 1))


def measured(submodel: Submodel, *cells: tuple[int, int], slower: float = 1) -> Report:
    """Return a report of some exits and threads."""
    rows = tuple(
        measurements.row(
            exit_index,
            a_machine_takes(submodel, exit_index, threads, slower=slower),
            threads=threads,
            memory_mib=5 + exit_index,
        )
        for exit_index, threads in cells
    )
    context = replace(measurements.report(*rows[:1]).context, submodel=submodel)
    return Report(context=context, rows=rows)


def asked(submodel: Submodel, threads: int = 1, kind: Kind = "inference") -> Question:
    return Question(
        submodel=submodel,
        kind=kind,
        runtime="eager",
        precision="fp32",
        threads=threads,
        batch_size=1 if kind == "inference" else 32,
        regime=None if kind == "inference" else "full",
    )


def slow(_context: Context) -> Processor:
    return SLOW


def width(estimate: Estimate) -> float:
    return estimate.high / estimate.low


def test_what_was_not_measured_of_a_model_is_filled_in() -> None:
    model = CostModel([measured(DEEP, (0, 1), (3, 1), (0, 2), (1, 2))], slow)

    filled = model.predict(HERE, asked(DEEP, threads=2), [2, 3])

    assert [each.exit_index for each in filled] == [2, 3]
    assert {each.basis for each in filled} == {"model"}
    for each in filled:
        truth = a_machine_takes(DEEP, each.exit_index, 2)
        assert each.p90_ms.value == pytest.approx(truth, rel=0.02)
        assert each.p90_ms.low <= truth <= each.p90_ms.high
        assert each.threads == 2


def test_the_less_is_known_the_wider_the_interval() -> None:
    shallow = measured(SHALLOW, (0, 1), (1, 1))
    deep = measured(DEEP, (0, 1), (1, 1), (3, 1), slower=1.2)
    elsewhere = Device(name="board", cpu_name="another", processor=SLOW)
    both, other = CostModel([shallow, deep], slow), CostModel([shallow], slow)

    (here,) = both.predict(HERE, asked(DEEP), [2])
    (another_model,) = other.predict(HERE, asked(DEEP), [2])
    (another_device,) = both.predict(elsewhere, asked(DEEP), [2])

    bases = [here.basis, another_model.basis, another_device.basis]
    assert bases == ["model", "device", "profile"]
    assert width(here.p90_ms) < width(another_device.p90_ms)
    assert width(another_device.p90_ms) >= 4  # a factor of two to both sides
    # The same program takes the same memory elsewhere.
    assert width(another_device.memory_mib) < width(another_device.p90_ms)


def test_what_is_smaller_than_all_measured_may_be_all_overhead_or_none() -> None:
    model = CostModel([measured(DEEP, (2, 1), (3, 1))], slow)
    smallest = a_machine_takes(DEEP, 2, 1)
    cost = run_cost(DEEP, 0, kind="inference", batch_size=1, regime=None)

    (prediction,) = model.predict(HERE, asked(DEEP), [0])

    assert prediction.p50_ms.low <= 2 * cost.macs / SLOW.peak_gmacs(1, "fp32") / 1e6
    assert prediction.p50_ms.high >= smallest


def test_a_disturbed_row_counts_only_where_there_is_nothing_else() -> None:
    quiet = measured(DEEP, (0, 1), (1, 1), (3, 1))
    noisy = Report(
        context=quiet.context,
        rows=(measurements.row(2, [1.0, 50.0] * 10),),
    )
    assert noisy.rows[0].summary.verdict == "noisy"

    both = CostModel([quiet, noisy], slow).predict(HERE, asked(DEEP), [2])

    assert both == CostModel([quiet], slow).predict(HERE, asked(DEEP), [2])
    assert CostModel([noisy], slow).predict(HERE, asked(DEEP), [2])


def test_another_device_is_as_much_faster_as_its_processor_may_be() -> None:
    model = CostModel([measured(DEEP, (0, 1), (1, 1), (2, 1), (3, 1))], slow)
    fast = Device(name="fast", cpu_name="another", processor=FAST)

    (slower,) = model.predict(HERE, asked(DEEP), [3])
    (faster,) = model.predict(fast, asked(DEEP), [3])

    assert faster.p50_ms.value == pytest.approx(slower.p50_ms.value / 4, rel=0.02)


def test_nothing_is_faster_than_its_weights_come_from_memory() -> None:
    model = CostModel([measured(DEEP, (0, 1), (3, 1))], slow)
    starved = replace(FAST, memory_gb_per_s=0.001)
    weight_bytes = run_cost(DEEP, 3, kind="inference", batch_size=1, regime=None).weight_bytes

    (prediction,) = model.predict(
        Device(name="starved", cpu_name="", processor=starved), asked(DEEP), [3]
    )

    assert prediction.p90_ms.value == pytest.approx(1e3 * weight_bytes / 1e6, rel=1e-3)


def test_an_emulation_says_nothing_of_time() -> None:
    real = measured(DEEP, (0, 1), (3, 1))
    context = replace(real.context, is_real_hardware=False, device="emu:board")
    emulated = Report(context=context, rows=measured(DEEP, (0, 1), slower=9).rows)

    with pytest.raises(ValueError, match="no report to go by measured inference on eager in fp32"):
        CostModel([emulated], slow).predict(HERE, asked(DEEP), [1])
    assert CostModel([real, emulated], slow).predict(HERE, asked(DEEP), [1]) == CostModel(
        [real], slow
    ).predict(HERE, asked(DEEP), [1])


def test_inference_says_nothing_of_a_step() -> None:
    model = CostModel([measured(DEEP, (0, 1), (3, 1))], slow)

    with pytest.raises(ValueError, match="measured fine-tuning step on eager in fp32; give one"):
        model.predict(HERE, asked(DEEP, kind="step"), [1])

"""What such machines are said to have measured."""

from collections.abc import Sequence

from reefl_edge.jobs.job import Kind
from reefl_edge.jobs.outcome import Measurement
from reefl_edge.profiling.prediction import Estimate, Prediction
from reefl_edge.profiling.report import RANDOM_WEIGHTS, Context, Report, Row
from reefl_edge.submodel import Regime
from tests.fakes.devices import HOST
from tests.fakes.submodels import tiny_submodel


def measurement(latency_ms: float | Sequence[float], *, memory_mib: float = 10.0) -> Measurement:
    """Return a measurement: of these samples, or of ten equal ones."""
    samples = (latency_ms,) * 10 if isinstance(latency_ms, int | float) else tuple(latency_ms)
    return Measurement(
        latency_ms_samples=samples,
        cpu_ms_samples=samples,
        load_ms=5.0,
        first_run_ms=7.0,
        baseline_mib=100.0,
        peak_mib=100.0 + memory_mib,
    )


def row(
    exit_index: int,
    latency_ms: float | Sequence[float],
    *,
    kind: Kind = "inference",
    memory_mib: float = 10.0,
    threads: int = 1,
    batch_size: int | None = None,
    regime: Regime | None = None,
) -> Row:
    """Return what a device found at one exit."""
    return Row(
        device="local",
        runtime="eager",
        precision="fp32",
        threads=threads,
        exit_index=exit_index,
        kind=kind,
        batch_size=batch_size or (1 if kind == "inference" else 32),
        measurement=measurement(latency_ms, memory_mib=memory_mib),
        regime=regime,
    )


def prediction(
    exit_index: int, p90_ms: tuple[float, float, float], *, kind: Kind = "inference"
) -> Prediction:
    """Return what nobody measured: of 10 MiB, or 20 at most.

    Args:
        exit_index: The exit.
        p90_ms: The lower end of its interval, the figure, and the upper end.
        kind: Of what.
    """
    low, value, high = p90_ms
    latency = Estimate(value=value, low=low, high=high)
    return Prediction(
        device="local",
        runtime="eager",
        precision="fp32",
        threads=1,
        exit_index=exit_index,
        kind=kind,
        batch_size=1 if kind == "inference" else 32,
        regime=None if kind == "inference" else "frozen",
        p50_ms=latency,
        p90_ms=latency,
        memory_mib=Estimate(value=10.0, low=5.0, high=20.0),
        basis="model",
    )


def report(*rows: Row) -> Report:
    """Return a report of these rows."""
    context = Context(
        measured_at="2026-01-31T12:00:00+00:00",
        device="local",
        is_real_hardware=True,
        host=HOST,
        model="tiny",
        weights=RANDOM_WEIGHTS,
        submodel=tiny_submodel(num_exits=4),
    )
    return Report(context=context, rows=rows)

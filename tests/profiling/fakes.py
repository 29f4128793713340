"""Stand-ins for what was measured."""

from collections.abc import Sequence

from reefl_edge.jobs.job import Kind
from reefl_edge.profiling.report import RANDOM_WEIGHTS, Context, Report, Row
from tests.devices.fakes import HOST
from tests.fakes import tiny_submodel
from tests.jobs.fakes import measurement


def row(
    exit_index: int,
    latency_ms: float | Sequence[float],
    *,
    kind: Kind = "inference",
    memory_mib: float = 10.0,
    threads: int = 1,
) -> Row:
    """Return what a device found at one exit."""
    return Row(
        device="local",
        runtime="eager",
        precision="fp32",
        threads=threads,
        exit_index=exit_index,
        kind=kind,
        batch_size=1 if kind == "inference" else 32,
        measurement=measurement(latency_ms, memory_mib=memory_mib),
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

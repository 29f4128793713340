"""Stand-ins for machines and their measurements."""

from collections.abc import Sequence

from reefl_edge.profiling.host import Host
from reefl_edge.profiling.job import Job, Kind, Measurement
from reefl_edge.profiling.report import RANDOM_WEIGHTS, Context, Report, Row
from tests.fakes import tiny_submodel

HOST = Host(
    os="Linux 6.1",
    arch="x86_64",
    cpu_name="a processor",
    cpu_features=("avx2", "fma"),
    num_cores=4,
    num_usable_cores=2,
    memory_total_mib=8192,
    governor=None,
    load_average=0.25,
    python_version="3.11.7",
    packages={"reefl-edge": "0.1.0", "numpy": "2.0.0"},
)


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


class FakeDeviceLink:
    """A device on which an exit takes as many milliseconds as it has blocks; it notes its jobs."""

    name = "fake"
    is_real_hardware = False

    def __init__(self) -> None:
        self.jobs: list[Job] = []

    def is_available(self) -> bool:
        """Tell that it is there."""
        return True

    def describe_host(self) -> Host:
        """Describe a machine that does not exist."""
        return HOST

    def run(self, job: Job) -> Measurement:
        """Note the job, and answer."""
        self.jobs.append(job)
        return measurement(float(job.submodel.depth))

"""Does a measurement beside other programs ever pass for a valid one, and a quiet one for valid?

The digits network up to its deepest exit, on every fast core, one fresh process a row: alone, and
beside each load. What a load does is what it is called: busy loops, one or one for each core, or
loops that are busy for a quarter of the time.

    python -m benchmarks.verdicts
"""

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from benchmarks.apparatus.documents import Bar, at_least, at_most, parser, write
from reefl_edge import schema
from reefl_edge.devices.links.local import LocalLink
from reefl_edge.jobs.job import INFERENCE_PLAN, InferenceJob
from reefl_edge.jobs.running import run_job
from reefl_edge.jobs.sources import BundleFolder, Files
from reefl_edge.profiling.measure import inference_jobs
from reefl_edge.profiling.summary import summarise
from reefl_edge.tasks.models import open_model
from reefl_export.bundle import Origin, export_checkpoint
from reefl_export.recipe import recipe_for

QUIET = "quiet"
_BUSY = "while True: pass"
_BURSTS = """
from time import perf_counter, sleep
while True:
    began = perf_counter()
    while perf_counter() - began < 0.05: pass
    sleep(0.15)
"""
# By name: the program, and whether one runs for each core.
LOADS: dict[str, tuple[str, bool]] = {
    "one busy loop": (_BUSY, False),
    "a busy loop on each core": (_BUSY, True),
    "bursts on each core": (_BURSTS, True),
}
# Alone on a machine that is quiet indeed; others' work, also a hypervisor's, makes it fewer.
MIN_VALID_SHARE = 0.8


class Sizes(NamedTuple):
    """How large the measurement is."""

    runs: int


FULL_SIZE = Sizes(runs=20)
QUICK_SIZE = Sizes(runs=1)


def main() -> None:
    """Measure and write the results."""
    arguments = parser(__doc__, "verdicts").parse_args()
    sizes = QUICK_SIZE if arguments.quick else FULL_SIZE
    rows: dict[str, list[Any]] = {name: [] for name in (QUIET, *LOADS)}
    with TemporaryDirectory() as scratch:
        job, files = prepare(Path(scratch))
        for _ in range(sizes.runs):
            for name, found in rows.items():
                with beside(name, num_cores=job.threads):
                    found.append(row(job, files))
    write(
        arguments.output,
        settings={"model": "digits", "threads": job.threads, **sizes._asdict()},
        bars=bars(rows),
        rows=rows,
    )


def prepare(folder: Path) -> tuple[InferenceJob, Files]:
    """Export the network; return what measures its deepest exit."""
    model = open_model("digits")
    exported = export_checkpoint(
        model.checkpoint, folder / "bundle", [recipe_for("onnx", "fp32")], Origin(name="digits")
    )
    source = BundleFolder.of(exported.bundle.directory)
    host = LocalLink().describe()
    threads = host.threads(None)
    job = inference_jobs(
        model.checkpoint.submodel,
        source,
        runtime="onnx",
        threads=threads,
        plan=INFERENCE_PLAN,
        cores=host.cores_for(threads),
    )[-1]
    return job, {source.sha256: exported.bundle.directory}


@contextmanager
def beside(name: str, *, num_cores: int) -> Iterator[None]:
    """Let a load run while the block does."""
    program, is_on_each = LOADS.get(name, ("", False))
    num_processes = 0 if name == QUIET else num_cores if is_on_each else 1
    processes = [subprocess.Popen([sys.executable, "-c", program]) for _ in range(num_processes)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def row(job: InferenceJob, files: Files) -> dict[str, Any]:
    """Measure once; return the verdict, and what it was found from."""
    measurement = run_job(LocalLink(), job, files)
    summary = summarise(measurement, threads=job.threads)
    return {
        "verdict": summary.verdict,
        "reason": summary.reason,
        "p50_ms": summary.p50_ms,
        "p90_ms": summary.p90_ms,
        "disturbances": schema.to_dict(measurement.sittings[0].disturbances),
    }


def bars(rows: dict[str, list[Any]]) -> list[Bar]:
    """Hold the counts to their limits."""
    counts = {name: Counter(each["verdict"] for each in found) for name, found in rows.items()}
    num_quiet = len(rows[QUIET])
    return [
        *(at_most(f"valid beside {name}", counts[name]["valid"], 0) for name in LOADS),
        at_least(
            f"valid on a quiet machine, of {num_quiet}",
            counts[QUIET]["valid"],
            MIN_VALID_SHARE * num_quiet,
        ),
    ]


if __name__ == "__main__":
    main()

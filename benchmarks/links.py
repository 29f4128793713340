"""What does a link to a device cost, beside the same jobs on this machine?

The device is this machine, at the end of a real ssh connection or a real adb client's
(``tests/remotes.py``), so that what differs is the link. A cable in between counts bytes.

* First use: the agent's stand-in and a DeiT-S bundle are pushed; bytes against the bundle's.
* Later uses, in turns with this machine: hold the device, describe it, do all jobs. Nothing but
  jobs and what they leave may travel then.

    python -m benchmarks.links
"""

import os
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from benchmarks.apparatus.artifacts import bundle_of, measured_network
from benchmarks.apparatus.documents import at_most, parser, write
from benchmarks.apparatus.harness import median
from benchmarks.apparatus.measured import measured_submodel, settings_of
from reefl_edge.bundles.bundle import Bundle
from reefl_edge.devices.links.base import Link
from reefl_edge.devices.links.local import LocalLink
from reefl_edge.jobs.job import InferenceJob, Plan
from reefl_edge.jobs.running import run_job
from reefl_edge.jobs.sources import BundleFolder, Files
from reefl_edge.profiling.measure import inference_jobs
from reefl_export.recipe import stock
from tests.phone.phones import MISSING
from tests.remotes import Remote, remote_of
from tests.sshd import SSHD

LIMIT_S = 1.5
LIMIT_BYTES = 1.1
# Of a bundle, when nothing is pushed: jobs, outcomes and shells' words are a few KB each.
LIMIT_AGAIN = 0.01

# What is measured is not the point: as short as can be.
_PLAN = Plan(warmup_runs=0, min_samples=2, min_seconds=0.0, max_seconds=10.0)


class Sizes(NamedTuple):
    """How large the measurement is."""

    rounds: int


FULL_SIZE = Sizes(rounds=3)
QUICK_SIZE = Sizes(rounds=1)


def main() -> None:
    """Measure and write the results."""
    arguments = parser(__doc__, "links").parse_args()
    sizes = QUICK_SIZE if arguments.quick else FULL_SIZE
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        folder.chmod(0o755)
        bundle_of(measured_network(is_quick=arguments.quick), stock(["onnx"]), folder / "bundle")
        bundle = Bundle.open(folder / "bundle")
        links = {kind: measure(kind, bundle, folder, sizes) for kind in kinds()}
    bars = []
    for kind, found in links.items():
        bars += [
            at_most(f"{kind}: seconds more per job", found["more_s_per_job"]["median"], LIMIT_S),
            at_most(f"{kind}: bytes of a first push", found["pushed_ratio"], LIMIT_BYTES),
            at_most(f"{kind}: bytes of a later use", found["again_ratio"], LIMIT_AGAIN),
        ]
    write(
        arguments.output,
        settings={
            **settings_of(measured_submodel(is_quick=arguments.quick)),
            **sizes._asdict(),
        },
        bars=bars,
        links=links,
    )


def kinds() -> list[str]:
    """Return the links that this machine has the parts for."""
    return [kind for kind, there in (("ssh", SSHD is not None), ("adb", not MISSING)) if there]


def measure(kind: str, bundle: Bundle, scratch: Path, sizes: Sizes) -> dict[str, Any]:
    """Measure one kind of link."""
    source = BundleFolder.of(bundle.directory)
    files = {source.sha256: bundle.directory}
    jobs = inference_jobs(bundle.manifest.submodel, source, runtime="onnx", threads=1, plan=_PLAN)
    folder = scratch / kind
    folder.mkdir()
    with remote_of(kind, folder) as remote:
        os.environ.update(remote.environment)
        pushed, _ = counted(remote, jobs[:1], files)
        again, _ = counted(remote, jobs, files)
        taken: dict[str, list[float]] = {"local": [], kind: []}
        for _ in range(sizes.rounds):
            taken["local"].append(seconds(LocalLink(), jobs, files))
            taken[kind].append(seconds(remote.open(), jobs, files))
    size = size_of(bundle.directory)
    more = [
        (there - here) / len(jobs) for here, there in zip(taken["local"], taken[kind], strict=True)
    ]
    return {
        "num_jobs": len(jobs),
        "pushed_bytes": pushed,
        "pushed_ratio": pushed / size,
        "again_bytes": again,
        "again_ratio": again / size,
        "more_s_per_job": median(more),
        "seconds": taken,
    }


def counted(remote: Remote, jobs: Sequence[InferenceJob], files: Files) -> tuple[int, int]:
    """Use a device once; return the bytes that went there, and back."""
    with remote.cable() as (cable, link):
        seconds(link, jobs, files)
        return cable.bytes_there, cable.bytes_back


def seconds(link: Link, jobs: Sequence[InferenceJob], files: Files) -> float:
    """Return how long a use of a device takes, from the first word to the last."""
    started = time.perf_counter()
    with link.held():
        link.describe()
        for job in jobs:
            run_job(link, job, files)
    return time.perf_counter() - started


def size_of(folder: Path) -> int:
    """Return the bytes of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


if __name__ == "__main__":
    main()

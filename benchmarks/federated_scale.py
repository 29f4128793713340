"""Does the memory of a simulation grow with its clients?

    python -m benchmarks.federated_scale

The digits' network on random images, one percent of the clients a round, but at least one for each
worker: all that ``reefl-edge federate run`` starts is watched, command, SuperLink, server and
workers. Pages that several of them share count once.
"""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter, sleep
from typing import Any

import numpy as np
import psutil

from benchmarks.apparatus.documents import at_most, parser, write
from reefl_edge.architectures import named_submodel
from reefl_edge.federation.settings import FederationSettings
from reefl_edge.jobs.workloads import random_images
from reefl_edge.models.build import build
from reefl_edge.models.checkpoint import save_checkpoint
from reefl_edge.partials import scratch_folder
from reefl_edge.tasks.federating import init_federation

MOST_GIB = 4.0
# From the fewest to the most clients; Ray's own processes differ by as much from run to run.
MOST_GROWTH = 1.1
_NUM_CLIENTS, _QUICK_NUM_CLIENTS = (100, 1_000, 10_000), (20, 40)
_NUM_EXAMPLES, _QUICK_NUM_EXAMPLES = 20_000, 200
_SAMPLED = 0.01
_NUM_ROUNDS = 2
_NUM_WORKERS = 2
_WATCH_EVERY_S = 0.5


def main() -> None:
    """Watch simulations of more and more clients, and write the results."""
    arguments = parser(__doc__, "federated_scale").parse_args()
    counts = _QUICK_NUM_CLIENTS if arguments.quick else _NUM_CLIENTS
    num_examples = _QUICK_NUM_EXAMPLES if arguments.quick else _NUM_EXAMPLES
    with scratch_folder() as folder:
        write_world(folder, num_examples)
        found = {str(count): simulated(folder, count) for count in counts}
    peaks = [each["peak_mib"] for each in found.values()]
    write(
        arguments.output,
        settings={
            "network": "digits",
            "examples": num_examples,
            "sampled": _SAMPLED,
            "rounds": _NUM_ROUNDS,
            "workers": _NUM_WORKERS,
        },
        bars=[
            at_most(f"GiB of {counts[-1]:,} clients", peaks[-1] / 1024, MOST_GIB),
            at_most(
                f"memory of {counts[-1]:,} clients to that of {counts[0]:,}",
                peaks[-1] / peaks[0],
                MOST_GROWTH,
            ),
        ],
        by_clients=found,
    )


def write_world(folder: Path, num_examples: int) -> None:
    """Write a network, and examples that clients share."""
    submodel = named_submodel("digits")
    save_checkpoint(build(submodel), folder / "model.safetensors")
    architecture = submodel.architecture
    generator = np.random.default_rng(0)
    np.savez(
        folder / "data.npz",
        images=random_images(num_examples, architecture.image_size),
        labels=generator.integers(architecture.num_classes, size=num_examples),
    )


def simulated(folder: Path, num_clients: int) -> dict[str, Any]:
    """Simulate so many clients; return the most memory that all processes took together."""
    app = folder / f"of-{num_clients}"
    settings = FederationSettings(
        model=str(folder / "model.safetensors"),
        data=str(folder / "data.npz"),
        num_clients=num_clients,
        clients_per_round=max(_NUM_WORKERS, round(_SAMPLED * num_clients)),
        num_rounds=_NUM_ROUNDS,
        output="out",
    )
    init_federation(app, settings)
    command = ["federate", "run", str(app), "--workers", str(_NUM_WORKERS)]
    began = perf_counter()
    peak = watched([sys.executable, "-m", "reefl_edge", *command])
    return {"peak_mib": peak / 2**20, "wall_s": perf_counter() - began}


def watched(command: Sequence[str]) -> int:
    """Run a command to its end; return the most bytes that it and all it starts took."""
    peak = 0
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        root = psutil.Process(process.pid)
        while process.poll() is None:
            peak = max(peak, sum(map(proportional_bytes, family_of(root))))
            sleep(_WATCH_EVERY_S)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with exit code {process.returncode}")
    return peak


def family_of(root: psutil.Process) -> list[psutil.Process]:
    """Return a process and all that it started, as far as they still run."""
    try:
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def proportional_bytes(process: psutil.Process) -> int:
    """Return what a process holds, pages that it shares divided among those who share them."""
    try:
        return int(process.memory_full_info().pss)
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return 0


if __name__ == "__main__":
    main()

"""How are variants of one computation compared fairly?

Time: all in one process, in turns, in an order that rotates from round to round. Memory: each in a
fresh process, under an allocator whose settings are the same for all. Both after warm-up.
"""

import gc
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from time import perf_counter_ns, process_time_ns, sleep
from typing import Any

import numpy as np

from reefl_edge.bootstrap import median_interval, median_ratio_interval
from reefl_edge.jobs import memory

Run = Callable[[], object]
Samples = dict[str, dict[str, list[float]]]

# glibc's own behaviour, which moves its threshold as a program runs; and large arrays always mapped
# apart, so that freed memory is given back at once: what the program really holds.
ALLOCATORS: dict[str, dict[str, str]] = {
    "default": {},
    "large arrays mapped": {"MALLOC_MMAP_THRESHOLD_": "1048576"},
}
# onnxruntime's threads look for more work, on the cores that the next run needs, for some tens of
# milliseconds after their last.
PAUSE_S = 0.1

_ALLOCATOR_VARIABLES = ("MALLOC_", "GLIBC_TUNABLES", "LD_PRELOAD", "DYLD_INSERT")


def interleave(runs: Mapping[str, Run], *, rounds: int, pause_s: float = 0.0) -> Samples:
    """Time each run once a round: name to ``wall_ms`` and ``cpu_ms``, a sample per round.

    Args:
        runs: What to time.
        rounds: How often.
        pause_s: To wait before each run, for the threads of another library's pool to stop.
    """
    names = list(runs)
    samples: Samples = {name: {"wall_ms": [], "cpu_ms": []} for name in names}
    for index in range(rounds):
        start = index % len(names)
        for name in names[start:] + names[:start]:
            sleep(pause_s)
            wall_ns, cpu_ns = perf_counter_ns(), process_time_ns()
            runs[name]()
            cpu_ns, wall_ns = process_time_ns() - cpu_ns, perf_counter_ns() - wall_ns
            samples[name]["wall_ms"].append(wall_ns / 1e6)
            samples[name]["cpu_ms"].append(cpu_ns / 1e6)
    return samples


def median(samples: Sequence[float]) -> dict[str, float]:
    """Return a median, and where it lies with 95% confidence."""
    low, high = median_interval(np.array(samples))
    return {"median": float(np.median(samples)), "low": low, "high": high}


def ratio(samples: Sequence[float], reference: Sequence[float]) -> dict[str, float]:
    """Return the ratio of two medians, and where it lies with 95% confidence."""
    low, high = median_ratio_interval(np.array(samples), np.array(reference))
    return {"ratio": float(np.median(samples) / np.median(reference)), "low": low, "high": high}


def peak_above_imports_mib(load: Callable[[], Run], *, warmup_runs: int, runs: int) -> float:
    """Return the most memory that runs at steady state take; call it in a fresh process."""
    gc.collect()
    baseline_mib = memory.resident_mib()
    run = load()
    for _ in range(warmup_runs):
        run()
    gc.collect()
    memory.reset_peak()
    for _ in range(runs):
        run()
    return memory.peak_mib() - baseline_mib


def in_fresh_process(module: str, arguments: Sequence[str], *, allocator: str = "default") -> Any:
    """Run a module that prints JSON in a process of its own, and read what it prints."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(_ALLOCATOR_VARIABLES)
    }
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        env=environment | ALLOCATORS[allocator],
        stdout=subprocess.PIPE,
        check=True,
    )
    return json.loads(done.stdout)


def sgemm_run(size: int) -> Run:
    """Return a product of two square matrices: the fastest that this library multiplies here."""
    import torch

    left, right = torch.rand(size, size), torch.rand(size, size)
    out = torch.empty(size, size)
    return lambda: torch.mm(left, right, out=out)


def sgemm_gflops(samples: Samples, size: int) -> float:
    """Return the machine's rate of single-precision products, from the times of ``sgemm_run``."""
    return 2 * size**3 / float(np.median(samples["sgemm"]["wall_ms"])) / 1e6

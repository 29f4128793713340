"""What does averaging the updates of a round cost?

The updates of 100 clients of four depths, as they are once decoded, against the plain sum of the
same bytes in numpy: ``sum64 += weight * array32`` of every array, with a weight that is a Python
number; in turns, in one process. And the most memory that a round takes beside the global arrays,
with each update held only until the next one comes; in a process of its own.

    python -m benchmarks.federated_average
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import count
from typing import NamedTuple

import numpy as np

from benchmarks.apparatus.documents import Bar, at_most, parser, write
from benchmarks.apparatus.harness import (
    Samples,
    in_fresh_process,
    interleave,
    median,
    peak_above_imports_mib,
    ratio,
)
from benchmarks.apparatus.measured import measured_submodel, settings_of
from reefl_edge.array_files.safetensors import Arrays
from reefl_edge.checkpoints.metadata import Provenance
from reefl_edge.checkpoints.update import Update
from reefl_edge.federation.average import RunningAverage, Sums
from reefl_edge.federation.guard import Expected, Guard
from reefl_edge.federation.optimizer import FedAvg
from reefl_edge.submodel import Submodel

TIME_LIMIT = 1.5
MEMORY_LIMIT = 4.0
_BASE = "0" * 64
_MIB = 2**20


class Sizes(NamedTuple):
    """How large the measurement is."""

    clients: int
    rounds: int


FULL_SIZE = Sizes(clients=100, rounds=30)
QUICK_SIZE = Sizes(clients=8, rounds=2)


def main() -> None:
    """Measure and write the results, or measure the memory of a round and print it."""
    options = parser(__doc__, "federated_average")
    options.add_argument("--memory", action="store_true")
    arguments = options.parse_args()
    sizes = QUICK_SIZE if arguments.quick else FULL_SIZE
    submodel = replace(measured_submodel(is_quick=arguments.quick), regime="lora")
    if arguments.memory:
        print(json.dumps(memory_updates(submodel, sizes)))
        return
    again = ["--memory", *(["--quick"] if arguments.quick else [])]
    memory = in_fresh_process(
        "benchmarks.federated_average", again, allocator="large arrays mapped"
    )
    samples = take_samples(submodel, sizes)
    write(
        arguments.output,
        settings={
            **settings_of(submodel),
            **sizes._asdict(),
            "regime": submodel.regime,
            "update_mib": round(update_mib(submodel), 2),
            "threads": 1,
        },
        bars=bars(samples, memory),
        time={name: median(taken["wall_ms"]) for name, taken in samples.items()},
        memory_updates=memory,
        samples=samples,
    )


def clients_of(submodel: Submodel, sizes: Sizes) -> Iterator[Update]:
    """Draw the update of one client after the other; their depths go round."""
    generator = np.random.default_rng(0)
    cuts = [submodel.cut(max_exit) for max_exit in range(submodel.num_exits)]
    for index in range(sizes.clients):
        yield update_of(cuts[index % len(cuts)], generator)


def update_of(submodel: Submodel, generator: np.random.Generator) -> Update:
    """Draw the update of one client."""
    arrays = {
        spec.name: generator.standard_normal(spec.shape, np.float32)
        for spec in submodel.trained_arrays()
    }
    num_examples = int(generator.integers(1, 1000))
    provenance = Provenance(base_sha256=_BASE, server_round=1, num_examples=num_examples)
    return Update(submodel=submodel, arrays=arrays, provenance=provenance)


def take_samples(submodel: Submodel, sizes: Sizes) -> Samples:
    """Average and sum in turns."""
    updates = list(clients_of(submodel, sizes))
    current = zeros(submodel)
    runs: dict[str, Callable[[], object]] = {
        "averaged": partial(averaged, submodel, updates, current),
        "plain sum": partial(plain_sum, submodel, updates),
    }
    for run in runs.values():
        run()
    return interleave(runs, rounds=sizes.rounds)


def averaged(submodel: Submodel, updates: list[Update], current: Arrays) -> Arrays:
    """Average updates as the server of a federation does."""
    average = RunningAverage(submodel)
    for update in updates:
        average.add(update, update.provenance.num_examples)
    return average.average(current)


def plain_sum(submodel: Submodel, updates: list[Update]) -> Sums:
    """Sum the same bytes with numpy alone."""
    sums = {spec.name: np.zeros(spec.shape) for spec in submodel.trained_arrays()}
    for update in updates:
        weight = update.provenance.num_examples
        for name, array in update.arrays.items():
            sums[name] += weight * array
    return sums


def memory_updates(submodel: Submodel, sizes: Sizes) -> float:
    """Return the most memory that a round takes, in updates of the deepest client."""
    current = zeros(submodel)
    taken = peak_above_imports_mib(
        lambda: partial(guarded_round, submodel, sizes, current), warmup_runs=1, runs=1
    )
    return taken / update_mib(submodel)


def guarded_round(submodel: Submodel, sizes: Sizes, current: Arrays) -> Arrays:
    """Guard, average and take one update after the other."""
    guard, average = Guard(bounds_norms=False), RunningAverage(submodel)
    names = map(str, count())
    for update in clients_of(submodel, sizes):  # with enumerate, two would be there at once
        expected = Expected(
            client=next(names),
            submodel=update.submodel,
            base_sha256=_BASE,
            server_round=1,
            start=current,
            max_examples=1000,
        )
        guard.check(update, expected)
        average.add(update, update.provenance.num_examples)
        del update  # as where replies are taken one by one
    return FedAvg().step(current, average.average(current), average.held())


def zeros(submodel: Submodel) -> Arrays:
    """Return global arrays, in memory that is really there."""
    return {spec.name: np.full(spec.shape, 0.0, np.float32) for spec in submodel.trained_arrays()}


def update_mib(submodel: Submodel) -> float:
    """Return how large an update of the deepest client is."""
    return sum(4 * spec.num_elements for spec in submodel.trained_arrays()) / _MIB


def bars(samples: Samples, memory: float) -> list[Bar]:
    """Hold time and memory to what the issue asks for."""
    return [
        at_most(
            "time of averaging to that of the plain sum",
            ratio(samples["averaged"]["wall_ms"], samples["plain sum"]["wall_ms"]),
            TIME_LIMIT,
        ),
        at_most("memory of a round, in updates of the deepest client", memory, MEMORY_LIMIT),
    ]


if __name__ == "__main__":
    main()

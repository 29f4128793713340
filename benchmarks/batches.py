"""What does dropping the samples that have exited gain on a batch?

``AdaptiveSession.predict`` on a batch of which exactly half the samples stop at the first exit and
the others run to the end, against running all of them to the end; in turns, in one fresh process
per number of threads.

    python -m benchmarks.batches
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np

from benchmarks.apparatus.documents import Bar, at_least, on_threads, parser, write
from benchmarks.apparatus.harness import (
    PAUSE_S,
    Run,
    Samples,
    in_fresh_process,
    interleave,
    median,
    ratio,
)
from benchmarks.apparatus.measured import Runnable, add_runtimes, measured_submodel, settings_of
from reefl_edge.adaptive import AdaptiveSession, ConfidencePolicy
from reefl_edge.bundles.bundle import Bundle
from reefl_edge.confidence import softmax
from reefl_edge.jobs.workloads import random_images
from reefl_edge.runtimes.opening import open_runtime

BATCH_SIZE = 16
THREADS = (1, 2)
# ExecuTorch programs are of fixed sizes: one by one, half the batch, the whole.
EXECUTORCH_BATCH_SIZES = (1, 8, 16)
WARMUP_RUNS = 1
THROUGHPUT_LIMIT = 1.4


class Sizes(NamedTuple):
    """How large the measurement is."""

    rounds: int
    pause_s: float


FULL_SIZE = Sizes(rounds=10, pause_s=PAUSE_S)
QUICK_SIZE = Sizes(rounds=2, pause_s=0.0)


def main() -> None:
    """Measure and write the results, or take the samples for one number of threads."""
    options = parser(__doc__, "batches")
    add_runtimes(options)
    options.add_argument("--samples-of", nargs=2, metavar=("FOLDER", "THREADS"))
    arguments = options.parse_args()
    sizes = QUICK_SIZE if arguments.quick else FULL_SIZE
    if arguments.samples_of is not None:
        folder, threads = arguments.samples_of
        runs = load_runs(Path(folder), arguments.runtimes, threads=int(threads))
        print(json.dumps(take_samples(sizes, runs)))
        return
    options_again = ["--runtimes", *arguments.runtimes, *(["--quick"] if arguments.quick else [])]
    with TemporaryDirectory() as scratch:
        export(Path(scratch), arguments.runtimes, is_quick=arguments.quick)
        samples = {
            threads: in_fresh_process(
                "benchmarks.batches", [*options_again, "--samples-of", scratch, str(threads)]
            )
            for threads in (THREADS[:1] if arguments.quick else THREADS)
        }
    write(
        arguments.output,
        settings={
            **settings_of(measured_submodel(is_quick=arguments.quick)),
            **sizes._asdict(),
            "threads": list(samples),
            "batch_size": BATCH_SIZE,
            "executorch_batch_sizes": EXECUTORCH_BATCH_SIZES,
        },
        bars=bars(samples, arguments.runtimes),
        time={threads: summary(taken) for threads, taken in samples.items()},
        samples=samples,
    )


def export(scratch: Path, runtimes: Sequence[Runnable], *, is_quick: bool) -> None:
    """Export the segments; to ExecuTorch in the batch sizes that will be run."""
    from benchmarks.apparatus.artifacts import bundle_of, measured_network
    from reefl_export.recipe import recipe_for

    recipes = [
        replace(recipe_for(name), batch_sizes=EXECUTORCH_BATCH_SIZES)
        if name == "executorch"
        else recipe_for(name)
        for name in runtimes
    ]
    bundle_of(measured_network(is_quick=is_quick), recipes, scratch / "segments")


def load_runs(scratch: Path, runtimes: Sequence[Runnable], *, threads: int) -> dict[str, Run]:
    """Load the segments; return what runs a batch in each way, by name."""
    bundle = Bundle.open(scratch / "segments")
    submodel = bundle.manifest.submodel
    images = random_images(BATCH_SIZE, submodel.architecture.image_size)
    runs: dict[str, Run] = {}
    for name in runtimes:
        runtime = open_runtime(name, bundle, threads=threads)
        all_the_way = AdaptiveSession(runtime, submodel, ConfidencePolicy((1.0,)))
        *_, logits = runtime.run(0, (images,))
        half = all_the_way.with_policy(half_stop_first(logits, num_exits=submodel.num_exits))
        stopped = half.predict(images).exit_indices == 0
        assert stopped.sum() == BATCH_SIZE // 2, "the samples of the batch are not apart"
        runs[f"{name} all to the end"] = partial(all_the_way.predict, images)
        runs[f"{name} half stop first"] = partial(half.predict, images)
    return runs


def half_stop_first(logits: Any, *, num_exits: int) -> ConfidencePolicy:
    """Return the policy that stops the more confident half of a batch at the first exit."""
    confidences = np.sort(softmax(logits).max(axis=-1))
    threshold = float(confidences[len(confidences) // 2])
    return ConfidencePolicy((threshold, *[1.0] * (num_exits - 2)))


def take_samples(sizes: Sizes, runs: Mapping[str, Run]) -> Samples:
    """Run everything in turns."""
    for run in runs.values():
        for _ in range(WARMUP_RUNS):
            run()
    return interleave(runs, rounds=sizes.rounds, pause_s=sizes.pause_s)


def bars(samples: Mapping[int, Samples], runtimes: Sequence[Runnable]) -> list[Bar]:
    """Hold the gain in throughput to what the issue asks for."""
    return [
        at_least(
            f"{name}: throughput where half stop first to all to the end{on_threads(threads)}",
            ratio(
                taken[f"{name} all to the end"]["wall_ms"],
                taken[f"{name} half stop first"]["wall_ms"],
            ),
            THROUGHPUT_LIMIT,
        )
        for threads, taken in samples.items()
        for name in runtimes
    ]


def summary(samples: Samples) -> dict[str, Any]:
    """Derive the median of each way to run."""
    return {
        name: {"wall_ms": median(taken["wall_ms"]), "cpu_ms": median(taken["cpu_ms"])}
        for name, taken in samples.items()
    }


if __name__ == "__main__":
    main()

"""How fast do the exported segments run, against what else could be run in their place?

In one fresh process per number of threads (onnxruntime's thread pool cannot be resized), all of
these in turns, one image at a time:

* ``plain``: the backbone of the same depth without any exit, in one graph, by the same road.
* ``fp32 exit K``: the segments up to exit K.
* ``int8-dynamic``, ``int8-static``: all segments in int8.
* ``stock``: all segments as ExecuTorch lowers them by itself.
* ``sgemm``: one large product, the fastest that this machine multiplies.

    python -m benchmarks.export_speed
"""

import json
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from benchmarks.apparatus.documents import (
    Bar,
    at_most,
    int8_instructions,
    on_threads,
    parser,
    write,
)
from benchmarks.apparatus.harness import (
    PAUSE_S,
    Run,
    Samples,
    in_fresh_process,
    interleave,
    median,
    ratio,
    sgemm_gflops,
    sgemm_run,
)
from benchmarks.apparatus.measured import Runnable, add_runtimes, measured_submodel, settings_of
from reefl_edge.bundles.artifacts import Precision
from reefl_edge.bundles.bundle import Bundle
from reefl_edge.cost import exit_costs
from reefl_edge.devices.host import describe_host
from reefl_edge.jobs.workloads import random_images
from reefl_edge.runtimes.chain import run_chain
from reefl_edge.runtimes.opening import open_runtime
from reefl_edge.submodel import Submodel

INT8: tuple[Precision, ...] = ("int8-dynamic", "int8-static")
THREADS = (1, 2)
WARMUP_RUNS = 3

# What the issue asks for.
SEGMENTS_LIMIT: dict[Runnable, float] = {"onnx": 1.05, "executorch": 1.07}
EXIT_MARGIN = 0.05
STOCK_LIMIT, ONNX_LIMIT = 0.60, 1.00
INT8_LIMIT_WITH_INSTRUCTIONS, INT8_LIMIT = 0.60, 0.85


class Sizes(NamedTuple):
    """How large the measurement is."""

    rounds: int
    pause_s: float
    sgemm_size: int


FULL_SIZE = Sizes(rounds=30, pause_s=PAUSE_S, sgemm_size=2048)
QUICK_SIZE = Sizes(rounds=2, pause_s=0.0, sgemm_size=64)


def main() -> None:
    """Measure and write the results, or take the samples for one number of threads."""
    options = parser(__doc__, "export_speed")
    add_runtimes(options)
    options.add_argument("--samples-of", nargs=2, metavar=("FOLDER", "THREADS"))
    arguments = options.parse_args()
    sizes = QUICK_SIZE if arguments.quick else FULL_SIZE
    if arguments.samples_of is not None:
        folder, threads = arguments.samples_of
        runs = load_runs(Path(folder), arguments.runtimes, threads=int(threads))
        print(json.dumps(take_samples(sizes, runs, threads=int(threads))))
        return
    options_again = ["--runtimes", *arguments.runtimes, *(["--quick"] if arguments.quick else [])]
    with TemporaryDirectory() as scratch:
        export(Path(scratch), arguments.runtimes, is_quick=arguments.quick)
        samples = {
            threads: in_fresh_process(
                "benchmarks.export_speed", [*options_again, "--samples-of", scratch, str(threads)]
            )
            for threads in (THREADS[:1] if arguments.quick else THREADS)
        }
    submodel = measured_submodel(is_quick=arguments.quick)
    instructions = int8_instructions(describe_host().cpu_features)
    write(
        arguments.output,
        settings={
            **settings_of(submodel),
            **sizes._asdict(),
            "threads": list(samples),
            "warmup_runs": WARMUP_RUNS,
        },
        int8_instructions=instructions,
        bars=[
            bar
            for threads, taken in samples.items()
            for bar in [
                *segment_bars(taken, arguments.runtimes, submodel, threads),
                *int8_bars(taken, arguments.runtimes, submodel, threads, instructions),
            ]
        ],
        time={threads: summary(taken, submodel, sizes) for threads, taken in samples.items()},
        samples=samples,
    )


def export(scratch: Path, runtimes: Sequence[Runnable], *, is_quick: bool) -> None:
    """Export everything that runs into folders of their own."""
    from benchmarks.apparatus.artifacts import bundle_of, measured_network, recipes_for, rival_of
    from reefl_export.recipe import recipe_for

    network = measured_network(is_quick=is_quick)
    bundle_of(network, recipes_for(runtimes), scratch / "segments")
    for runtime in runtimes:
        rival_of(network, "plain", recipe_for(runtime), scratch / f"plain-{runtime}")
    if "executorch" in runtimes:
        rival_of(network, "stock", recipe_for("executorch"), scratch / "stock")


def take_samples(sizes: Sizes, runs: dict[str, Run], *, threads: int) -> Samples:
    """Run everything in turns, in this process, which must be fresh."""
    import torch

    torch.set_num_threads(threads)
    runs = runs | {"sgemm": sgemm_run(sizes.sgemm_size)}
    for run in runs.values():
        for _ in range(WARMUP_RUNS):
            run()
    return interleave(runs, rounds=sizes.rounds, pause_s=sizes.pause_s)


def load_runs(scratch: Path, runtimes: Sequence[Runnable], *, threads: int) -> dict[str, Run]:
    """Load everything; return what runs it, by name."""
    segments = Bundle.open(scratch / "segments")
    submodel = segments.manifest.submodel
    images = random_images(1, submodel.architecture.image_size)

    def chain(bundle: Bundle, runtime: Runnable, precision: Precision = "fp32") -> list[Run]:
        opened = open_runtime(runtime, bundle, precision=precision, threads=threads)
        return [
            partial(run_chain, opened, images, num_exits=index + 1)
            for index in range(bundle.manifest.submodel.num_exits)
        ]

    runs: dict[str, Run] = {}
    for runtime in runtimes:
        runs[f"{runtime} plain"] = chain(Bundle.open(scratch / f"plain-{runtime}"), runtime)[-1]
        for exit_index, run in enumerate(chain(segments, runtime)):
            runs[f"{runtime} fp32 exit {exit_index}"] = run
        for precision in INT8:
            runs[f"{runtime} {precision}"] = chain(segments, runtime, precision)[-1]
    if "executorch" in runtimes:
        runs["executorch stock"] = chain(Bundle.open(scratch / "stock"), "executorch")[-1]
    return runs


def segment_bars(
    samples: Samples, runtimes: Sequence[Runnable], submodel: Submodel, threads: int
) -> Iterator[Bar]:
    """Hold the fp32 segments to the plain backbone, the stock lowering and the other runtime."""
    deepest = f"fp32 exit {submodel.max_exit}"
    where = on_threads(threads)
    for runtime in runtimes:
        whole = against(samples, f"{runtime} {deepest}", f"{runtime} plain")
        yield at_most(f"{runtime}: all segments to plain{where}", whole, SEGMENTS_LIMIT[runtime])
        for exit_index, exit_block in enumerate(submodel.exit_blocks[:-1]):
            part = against(samples, f"{runtime} fp32 exit {exit_index}", f"{runtime} plain")
            limit = (exit_block + 1) / submodel.depth + EXIT_MARGIN
            yield at_most(f"{runtime}: up to exit {exit_index} to plain{where}", part, limit)
    ours = f"executorch {deepest}"
    if "executorch" in runtimes:
        to_stock = against(samples, ours, "executorch stock")
        yield at_most(f"executorch: our lowering to stock{where}", to_stock, STOCK_LIMIT)
    if len(runtimes) > 1:
        to_onnx = against(samples, ours, f"onnx {deepest}")
        yield at_most(f"executorch fp32 to onnx fp32{where}", to_onnx, ONNX_LIMIT)


def int8_bars(
    samples: Samples,
    runtimes: Sequence[Runnable],
    submodel: Submodel,
    threads: int,
    instructions: str | None,
) -> Iterator[Bar]:
    """Hold int8 to fp32; how much it must gain depends on the processor."""
    limit = INT8_LIMIT_WITH_INSTRUCTIONS if instructions else INT8_LIMIT
    for runtime in runtimes:
        for precision in INT8:
            fp32 = f"{runtime} fp32 exit {submodel.max_exit}"
            figure = against(samples, f"{runtime} {precision}", fp32)
            yield at_most(f"{runtime} {precision} to fp32{on_threads(threads)}", figure, limit)


def against(samples: Samples, name: str, other: str) -> dict[str, float]:
    """Return the ratio of two wall times, with its interval."""
    return ratio(samples[name]["wall_ms"], samples[other]["wall_ms"])


def summary(samples: Samples, submodel: Submodel, sizes: Sizes) -> dict[str, Any]:
    """Derive medians, and how far the fp32 segments are from the machine's limit."""
    limit = sgemm_gflops(samples, sizes.sgemm_size)
    found: dict[str, Any] = {"sgemm_gflops": limit, "runs": {}}
    for name, taken in samples.items():
        if name == "sgemm":
            continue
        wall = median(taken["wall_ms"])
        row: dict[str, Any] = {"wall_ms": wall, "cpu_ms": median(taken["cpu_ms"])}
        if " fp32 exit " in name:
            macs = exit_costs(submodel)[int(name[-1])].inference.macs
            gflops = 2 * macs / wall["median"] / 1e6
            row |= {"macs": macs, "gflops": gflops, "share_of_limit": gflops / limit}
        found["runs"][name] = row
    return found


if __name__ == "__main__":
    main()

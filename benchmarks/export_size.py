"""Is a bundle as small as a single model, on disk and in memory?

The single model is the network of the same depth with all its exits in one graph, exported by the
same road; in Core ML, whose exporter takes segments only, the network with its last exit alone.
Memory is the increment over the idle runtime: the peak of runs at steady state in a fresh process,
above its level after the imports.

    python -m benchmarks.export_size
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from benchmarks.apparatus.bundle_runs import importing
from benchmarks.apparatus.documents import Bar, at_most, parser, write
from benchmarks.apparatus.harness import in_fresh_process, peak_above_imports_mib, ratio
from benchmarks.apparatus.measured import RUNNABLE, Runnable, add_runtimes, settings_of
from reefl_edge.bundles.bundle import Bundle
from reefl_edge.names import parse_name

SIZE_LIMIT, MEMORY_LIMIT, INT8_LIMIT = 1.02, 1.05, 0.30

# By a bundle's name: bytes of each artifact, and the MiB that each process took.
MemoryMib = dict[str, list[float]]


class Sizes(NamedTuple):
    """How large the measurement is."""

    processes: int
    runs: int
    has_core_ml: bool


FULL_SIZE = Sizes(processes=3, runs=5, has_core_ml=True)
QUICK_SIZE = Sizes(processes=1, runs=1, has_core_ml=False)


def main() -> None:
    """Measure and write the results, or measure the memory of one bundle and print it."""
    options = parser(__doc__, "export_size")
    add_runtimes(options)
    options.add_argument("--memory-of", nargs=2, metavar=("RUNTIME", "FOLDER"))
    arguments = options.parse_args()
    sizes = QUICK_SIZE if arguments.quick else FULL_SIZE
    if arguments.memory_of is not None:
        runtime, folder = arguments.memory_of
        print(json.dumps(memory_mib(runtime, Path(folder), runs=sizes.runs)))
        return
    with TemporaryDirectory() as scratch:
        bundles = export(
            sizes, Path(scratch), runtimes=arguments.runtimes, is_quick=arguments.quick
        )
        size_bytes = {name: _size_bytes(bundle) for name, bundle in bundles.items()}
        folders = {
            f"{runtime} {name}": (runtime, bundles[bundle].directory)
            for runtime in arguments.runtimes
            for name, bundle in (("segments", "segments"), ("single", f"single {runtime}"))
        }
        memory = measure_memory(folders, sizes, ["--quick"] if arguments.quick else [])
    write(
        arguments.output,
        settings={**settings_of(bundles["segments"].manifest.submodel), **sizes._asdict()},
        bars=[*size_bars(size_bytes), *memory_bars(memory, arguments.runtimes)],
        size_bytes=size_bytes,
        memory_mib=memory,
    )


def export(
    sizes: Sizes, scratch: Path, *, runtimes: Sequence[Runnable], is_quick: bool
) -> dict[str, Bundle]:
    """Export the segments in every format, and the single model of each."""
    from benchmarks.apparatus.artifacts import bundle_of, measured_network, recipes_for, rival_of
    from benchmarks.apparatus.one_graph import seen_from_outside
    from reefl_edge.models.arrays import random_network
    from reefl_export.recipe import recipe_for

    network = measured_network(is_quick=is_quick)
    core_ml = [recipe_for("coreml")] if sizes.has_core_ml else []
    recipes = [*recipes_for(runtimes), *core_ml]
    bundles = {"segments": bundle_of(network, recipes, scratch / "segments")}
    for target in runtimes:
        folder = scratch / f"single-{target}"
        bundles[f"single {target}"] = rival_of(network, "all exits", recipe_for(target), folder)
    if core_ml:
        last_exit = random_network(seen_from_outside(network.submodel, "plain"), seed=0)
        bundles["single coreml"] = bundle_of(last_exit, core_ml, scratch / "single-coreml")
    return bundles


def _size_bytes(bundle: Bundle) -> dict[str, int]:
    artifacts = bundle.manifest.artifacts
    return {f"{each.target} {each.precision}": each.size_bytes for each in artifacts}


def size_bars(size_bytes: Mapping[str, Mapping[str, int]]) -> Iterator[Bar]:
    """Hold the segments to the single model of each format, and int8 to fp32."""
    segments = size_bytes["segments"]
    for name, num_bytes in segments.items():
        target, precision = name.split()
        fp32 = f"{target} fp32"
        if precision == "fp32":
            single = size_bytes[f"single {target}"][fp32]
            yield at_most(f"{target}: bytes to the single model", num_bytes / single, SIZE_LIMIT)
        else:
            figure = num_bytes / segments[fp32]
            yield at_most(f"{target} {precision}: bytes to fp32", figure, INT8_LIMIT)


def measure_memory(
    folders: Mapping[str, tuple[Runnable, Path]], sizes: Sizes, options: Sequence[str]
) -> MemoryMib:
    """Return what each bundle takes on a runtime, in turns, each in a process of its own."""
    taken: MemoryMib = {name: [] for name in folders}
    for _ in range(sizes.processes):
        for name, (runtime, folder) in folders.items():
            arguments = [*options, "--memory-of", runtime, str(folder)]
            taken[name].append(in_fresh_process("benchmarks.export_size", arguments))
    return taken


def memory_mib(runtime: str, folder: Path, *, runs: int) -> float:
    """Return what a bundle takes in this process, which must be fresh."""
    load = importing(parse_name(runtime, RUNNABLE, kind="runtime"), folder)
    return peak_above_imports_mib(load, warmup_runs=1, runs=runs)


def memory_bars(
    memory: Mapping[str, Sequence[float]], runtimes: Sequence[Runnable]
) -> Iterator[Bar]:
    """Hold the memory of the segments to that of the single model."""
    for runtime in runtimes:
        figure = ratio(memory[f"{runtime} segments"], memory[f"{runtime} single"])
        yield at_most(f"{runtime}: memory to the single model", figure, MEMORY_LIMIT)


if __name__ == "__main__":
    main()

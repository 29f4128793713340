"""What grows with the size of a network, and does anything grow faster than it must?

From DeiT-S with four exits, one axis at a time: blocks (three exits), width, exits (24 blocks),
image size.
Each network is exported to ONNX float32 in a process of its own, after the imports and the export
of a tiny one, and run in another, on one thread.

*Line* is what a straight line through the two smaller networks of an axis says of the largest. What
must grow faster is known beforehand: products grow with the square of the width, tokens with the
square of the image size, attention with the square of the tokens. So each figure stands beside the
network's own multiply-accumulates and bytes of weights.

    python -m benchmarks.growth
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, process_time
from typing import Any, Literal, get_args

import numpy as np

from benchmarks.apparatus.documents import parser, write
from benchmarks.apparatus.harness import in_fresh_process, interleave, peak_above_imports_mib
from benchmarks.apparatus.measured import measured_submodel
from reefl_edge.cost import exit_costs
from reefl_edge.submodel import ExitSchedule, Submodel

Axis = Literal["blocks", "width", "exits", "image size"]
AXES: tuple[Axis, ...] = get_args(Axis)
SIZES: dict[Axis, tuple[int, int, int]] = {
    "blocks": (6, 12, 24),
    "width": (192, 384, 768),
    "exits": (4, 12, 24),
    "image size": (96, 224, 384),
}
QUICK_SIZES: dict[Axis, tuple[int, int, int]] = {
    "blocks": (1, 2, 4),
    "width": (32, 64, 128),
    "exits": (1, 2, 4),
    "image size": (8, 16, 24),
}
_HEAD_WIDTH = 64
_RUNS, _QUICK_RUNS = 15, 2

Figures = dict[str, float]


def main() -> None:
    """Measure every network of every axis, or one step of one network and print it."""
    options = parser(__doc__, "growth")
    options.add_argument("--axes", nargs="+", choices=AXES, default=AXES)
    options.add_argument("--export", nargs=3, metavar=("AXIS", "SIZE", "FOLDER"))
    options.add_argument("--run", type=Path, metavar="FOLDER")
    arguments = options.parse_args()
    runs = _QUICK_RUNS if arguments.quick else _RUNS
    if arguments.export is not None:
        axis, size, folder = arguments.export
        submodel = grown(axis, int(size), is_quick=arguments.quick)
        print(json.dumps(export_figures(submodel, Path(folder))))
    elif arguments.run is not None:
        print(json.dumps(run_figures(arguments.run, runs=runs)))
    else:
        _measure(arguments, runs=runs)


def _measure(arguments: argparse.Namespace, *, runs: int) -> None:
    sizes = {axis: sizes_of(axis, is_quick=arguments.quick) for axis in arguments.axes}
    figures = {
        axis: {
            str(size): network_figures(axis, size, is_quick=arguments.quick) for size in sizes[axis]
        }
        for axis in sizes
    }
    write(
        arguments.output,
        settings={"runs": runs, "threads": 1},
        figures=figures,
        to_line={axis: over_the_line(sizes[axis], figures[axis]) for axis in sizes},
    )


def sizes_of(axis: Axis, *, is_quick: bool) -> tuple[int, int, int]:
    """Return the sizes that are measured along an axis, smallest first."""
    return (QUICK_SIZES if is_quick else SIZES)[axis]


def grown(axis: Axis, size: int, *, is_quick: bool) -> Submodel:
    """Return the measured network with one of its sizes changed."""
    submodel = measured_submodel(is_quick=is_quick)
    architecture, num_exits = submodel.architecture, submodel.num_exits
    match axis:
        case "blocks":
            architecture = replace(architecture, num_blocks=size)
            num_exits = 1 if is_quick else 3  # as many divide each number of blocks
        case "width":
            heads = max(1, size // _HEAD_WIDTH)
            architecture = replace(architecture, width=size, num_heads=heads)
        case "exits":
            architecture = replace(architecture, num_blocks=max(sizes_of(axis, is_quick=is_quick)))
            num_exits = size
        case "image size":
            architecture = replace(architecture, image_size=size)
    schedule = ExitSchedule.evenly_spaced(num_blocks=architecture.num_blocks, num_exits=num_exits)
    return replace(
        submodel, architecture=architecture, schedule=schedule, max_exit=schedule.num_exits - 1
    )


def network_figures(axis: Axis, size: int, *, is_quick: bool) -> Figures:
    """Return what one network costs: by its own arithmetic, to export, and to run."""
    options = ["--quick"] if is_quick else []
    cost = exit_costs(grown(axis, size, is_quick=is_quick))[-1].inference
    with TemporaryDirectory() as scratch:
        export = [*options, "--export", axis, str(size), str(Path(scratch, "bundle"))]
        made: Figures = in_fresh_process("benchmarks.growth", export)
        run = [*options, "--run", str(Path(scratch, "bundle"))]
        taken: Figures = in_fresh_process("benchmarks.growth", run)
    return {"macs": cost.macs, "weight_bytes": cost.weight_bytes, **made, **taken}


def export_figures(submodel: Submodel, folder: Path) -> Figures:
    """Export a network to ONNX in this process; return how long that takes, and how large it is."""
    from benchmarks.apparatus.artifacts import bundle_of, conversion_of
    from reefl_edge.models.arrays import random_network
    from reefl_export.onnx.exporter import export_onnx
    from reefl_export.recipe import recipe_for

    network, recipe = random_network(submodel, seed=0), recipe_for("onnx")
    tiny = random_network(measured_submodel(is_quick=True).cut(0), seed=0)
    with TemporaryDirectory() as scratch:
        export_onnx(conversion_of(tiny, recipe, Path(scratch)))
    with TemporaryDirectory() as scratch:
        conversion = conversion_of(network, recipe, Path(scratch))
        wall, cpu = perf_counter(), process_time()
        export_onnx(conversion)
        taken = {"export_wall_s": perf_counter() - wall, "export_cpu_s": process_time() - cpu}
        (artifact,) = bundle_of(network, [recipe], folder).manifest.artifacts
    return {**taken, "size_bytes": artifact.size_bytes}


def run_figures(folder: Path, *, runs: int) -> Figures:
    """Run a bundle in this process, which must be fresh; return memory and latency."""
    from benchmarks.apparatus.bundle_runs import importing

    load = importing("onnx", folder)
    memory_mib = peak_above_imports_mib(load, warmup_runs=1, runs=3)
    run = load()
    run()
    samples = interleave({"run": run}, rounds=runs)["run"]
    return {
        "memory_mib": memory_mib,
        "latency_ms": float(np.median(samples["wall_ms"])),
        "latency_cpu_ms": float(np.median(samples["cpu_ms"])),
    }


def over_the_line(sizes: Sequence[int], figures: Mapping[str, Mapping[str, Any]]) -> Figures:
    """Return each figure of the largest network over what a straight line says of it.

    >>> over_the_line([1, 2, 4], {"1": {"ms": 10.0}, "2": {"ms": 20.0}, "4": {"ms": 80.0}})
    {'ms': 2.0}
    """
    small, middle, large = (figures[str(size)] for size in sizes)
    share = (sizes[2] - sizes[0]) / (sizes[1] - sizes[0])
    return {
        name: large[name] / (small[name] + share * (middle[name] - small[name])) for name in small
    }


if __name__ == "__main__":
    main()

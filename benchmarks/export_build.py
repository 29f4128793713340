"""How long does an export take, in every format and precision, against the toolchains' own roads?

Everything is made once, in this process, after the imports and the same for a tiny network; no
cache takes part. The precisions of a format come one after the other and share what was traced, as
in one command. The rivals: **stock**, the same segments as ExecuTorch lowers them by itself (kept
in the cache for ``export_speed``), and **PyTorch**, the plain backbone through ``torch.onnx``.

What runs outside ExecuTorch's delegate is counted in the programs themselves: every call of a
delegate is a subgraph of its own.

    python -m benchmarks.export_build
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, process_time
from typing import Any

from benchmarks.apparatus.artifacts import (
    conversion_of,
    converter_of,
    keep_rival,
    say,
    smooth_noise,
)
from benchmarks.apparatus.documents import Bar, at_most, parser, write
from benchmarks.apparatus.measured import measured_submodel, settings_of
from benchmarks.apparatus.one_graph import as_one_graph
from reefl_edge.bundles.artifacts import PRECISIONS_OF, TARGETS, Target
from reefl_edge.models.arrays import random_network
from reefl_edge.models.reefl import ReeFL
from reefl_edge.runtimes.executorch import PROGRAM_NAME
from reefl_export.conversion import Conversion
from reefl_export.maker import converter_for
from reefl_export.quiet import quiet
from reefl_export.recipe import recipe_for

# What the issue asks for.
EXECUTORCH_TO_STOCK, INT8_TO_FP32 = 0.35, 1.30
ONNX_TO_PYTORCH, ONNX_FURTHER = 0.35, 0.15
CORE_ML_FURTHER = 0.30
ALL_TO_STOCK = 2.5

Build = dict[str, dict[str, float]]


def main() -> None:
    """Make everything, and write the results."""
    arguments = parser(__doc__, "export_build").parse_args()
    submodel = measured_submodel(is_quick=arguments.quick)
    network = random_network(submodel.cut(0) if arguments.quick else submodel, seed=0)
    tiny = random_network(measured_submodel(is_quick=True).cut(0), seed=0)
    with TemporaryDirectory() as scratch:
        for warm_up, folder in ((True, Path(scratch, "tiny")), (False, Path(scratch, "whole"))):
            folder.mkdir()
            build = make_all(tiny if warm_up else network, folder, is_kept=not warm_up)
        programs = {
            name: calls(folder / name / PROGRAM_NAME)
            for name in ("executorch fp32", "executorch stock")
        }
    write(
        arguments.output,
        settings=settings_of(network.submodel),
        bars=[*bars(build)],
        build=build,
        calls=programs,
    )


def make_all(network: ReeFL, folder: Path, *, is_kept: bool) -> Build:
    """Make every stock artifact of a network, and its rivals; return how long each took.

    Args:
        network: The network.
        folder: Where to.
        is_kept: The stock lowering goes into the cache.
    """
    build: Build = {}
    for target in TARGETS:
        shared = conversion_of(network, recipe_for(target), folder).shared
        for precision in PRECISIONS_OF[target]:
            name = f"{target} {precision}"
            conversion = replace(
                conversion_of(network, recipe_for(target, precision), folder / name),
                calibration=smooth_noise(network.submodel).pixels,
                shared=shared,
            )
            build[name] = timed(name, converter_for(target), conversion)
    stock = conversion_of(network, recipe_for("executorch"), folder / "executorch stock")
    build["executorch stock"] = timed("stock", converter_of("stock", stock.recipe), stock)
    if is_kept:
        keep_rival(network, "stock", stock)
    plain = conversion_of(
        as_one_graph(network, "plain"), recipe_for("onnx"), folder / "onnx by PyTorch"
    )
    build["onnx by PyTorch"] = timed("PyTorch", converter_of("plain", plain.recipe), plain)
    return build


def timed(name: str, convert: Any, conversion: Conversion) -> dict[str, float]:
    """Return how long a conversion takes, on the clock and on the processors."""
    say(f"{name}, {conversion.submodel.depth} blocks")
    conversion.folder.mkdir()
    wall, cpu = perf_counter(), process_time()
    convert(conversion)
    return {"wall_s": perf_counter() - wall, "cpu_s": process_time() - cpu}


def bars(build: Mapping[str, Mapping[str, float]]) -> Iterator[Bar]:
    """Hold what was made to the rivals, and further precisions to the first of their format."""
    seconds = {name: taken["wall_s"] for name, taken in build.items()}
    stock, by_pytorch = seconds.pop("executorch stock"), seconds.pop("onnx by PyTorch")
    executorch, onnx = seconds["executorch fp32"], seconds["onnx fp32"]
    yield at_most("executorch fp32: to the stock lowering", executorch / stock, EXECUTORCH_TO_STOCK)
    dynamic = seconds["executorch int8-dynamic"]
    yield at_most("executorch int8-dynamic: to fp32", dynamic / executorch, INT8_TO_FP32)
    yield at_most("onnx fp32: to PyTorch's plain backbone", onnx / by_pytorch, ONNX_TO_PYTORCH)
    further: dict[Target, float] = {"onnx": ONNX_FURTHER, "coreml": CORE_ML_FURTHER}
    for target, limit in further.items():
        first, *others = (f"{target} {precision}" for precision in PRECISIONS_OF[target])
        for name in others:
            yield at_most(f"{name}: to fp32", seconds[name] / seconds[first], limit)
    whole = sum(seconds.values()) / stock
    yield at_most("all stock recipes: to the stock lowering alone", whole, ALL_TO_STOCK)


def calls(path: Path) -> dict[str, dict[str, Any]]:
    """Count, by method, the calls of the delegate and of each operator outside it."""
    from executorch.exir._serialize._program import deserialize_pte_binary
    from executorch.exir.schema import DelegateCall, KernelCall

    with quiet():
        program = deserialize_pte_binary(path.read_bytes()).program
    found = {}
    for plan in program.execution_plan:
        steps = [step.instr_args for chain in plan.chains for step in chain.instructions]
        if not steps:  # a constant, such as the metadata
            continue
        operators = Counter(
            plan.operators[step.op_index].name for step in steps if isinstance(step, KernelCall)
        )
        found[plan.name] = {
            "delegated_subgraphs": sum(isinstance(step, DelegateCall) for step in steps),
            "undelegated_operators": dict(operators),
        }
    return found


if __name__ == "__main__":
    main()

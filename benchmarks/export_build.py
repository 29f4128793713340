"""How long does our lowering to ExecuTorch take against the stock one, and what is not delegated?

Each lowers the same segments once, in this process, after the imports and a lowering of a tiny
network; no cache takes part, but the stock program is kept there for ``export_speed``. What runs
outside the delegate is counted in the programs themselves: every call of a delegate is a subgraph
of its own.

    python -m benchmarks.export_build
"""

from collections import Counter
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, process_time
from typing import Any

from benchmarks.apparatus.artifacts import conversion_of, converter_of, keep_rival
from benchmarks.apparatus.documents import at_most, parser, write
from benchmarks.apparatus.measured import measured_submodel, settings_of
from reefl_edge.models.arrays import random_network
from reefl_edge.runtimes.executorch import PROGRAM_NAME
from reefl_export.conversion import Conversion
from reefl_export.quiet import quiet
from reefl_export.recipe import recipe_for

BUILD_LIMIT = 0.35


def main() -> None:
    """Lower twice and write the results."""
    arguments = parser(__doc__, "export_build").parse_args()
    submodel = measured_submodel(is_quick=arguments.quick)
    network = random_network(submodel.cut(0) if arguments.quick else submodel, seed=0)
    recipe = recipe_for("executorch")
    converters = {"ours": converter_of(None, recipe), "stock": converter_of("stock", recipe)}
    _import_toolchain()
    with TemporaryDirectory() as scratch:
        tiny = random_network(measured_submodel(is_quick=True).cut(0), seed=0)
        for name, convert in converters.items():
            timed(convert, conversion_of(tiny, recipe, Path(scratch, f"tiny-{name}")))
        conversions = {
            name: conversion_of(network, recipe, Path(scratch, name)) for name in converters
        }
        build = {name: timed(convert, conversions[name]) for name, convert in converters.items()}
        keep_rival(network, "stock", conversions["stock"])
        programs = {
            name: calls(conversion.folder / PROGRAM_NAME)
            for name, conversion in conversions.items()
        }
    to_stock = build["ours"]["wall_s"] / build["stock"]["wall_s"]
    write(
        arguments.output,
        settings=settings_of(network.submodel),
        bars=[at_most("executorch: build time of our lowering to stock", to_stock, BUILD_LIMIT)],
        build=build,
        calls=programs,
    )


def timed(convert: Callable[[Conversion], None], conversion: Conversion) -> dict[str, float]:
    """Return how long a lowering takes, on the clock and on the processors."""
    conversion.folder.mkdir()
    wall, cpu = perf_counter(), process_time()
    convert(conversion)
    return {"wall_s": perf_counter() - wall, "cpu_s": process_time() - cpu}


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


@quiet("torch.utils._pytree")
def _import_toolchain() -> None:
    """Import what both lowerings need: seconds that are neither's."""
    import_module("executorch.backends.xnnpack.partition.xnnpack_partitioner")
    import_module("executorch.exir")


if __name__ == "__main__":
    main()

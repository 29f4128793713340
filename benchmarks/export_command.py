"""What does an export take beside the making: how much memory, and how long to compare?

A fresh process per format: after the imports and the export of a tiny network, all precisions of
the format are exported as one command does, from an empty cache. Memory is the peak of all that
above the process's level before it, the network's arrays among it. *Compare* is what an artifact
takes beyond the reference's own run on the same images, which is timed apart.

    python -m benchmarks.export_command
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

from benchmarks.apparatus.documents import Bar, at_most, parser, write
from benchmarks.apparatus.harness import in_fresh_process, peak_above_imports_mib
from benchmarks.apparatus.measured import measured_submodel, settings_of
from reefl_edge.bundles.artifacts import PRECISIONS_OF, TARGETS, Target
from reefl_edge.cost import exit_costs
from reefl_edge.submodel import Submodel

MEMORY_TO_WEIGHTS = 3.0
COMPARE_TO_REFERENCE = 1.5


def main() -> None:
    """Measure every format, or one in this process and print it."""
    options = parser(__doc__, "export_command")
    options.add_argument("--target", choices=TARGETS)
    arguments = options.parse_args()
    submodel = measured_submodel(is_quick=arguments.quick)
    if arguments.target is not None:
        print(json.dumps(figures_of(submodel, arguments.target)))
        return
    again = ["--quick"] if arguments.quick else []
    figures = {
        target: in_fresh_process("benchmarks.export_command", [*again, "--target", target])
        for target in TARGETS
    }
    weights_mib = exit_costs(submodel)[-1].inference.weight_bytes / 2**20
    write(
        arguments.output,
        settings=settings_of(submodel),
        weights_mib=weights_mib,
        bars=[bar for target in TARGETS for bar in bars(target, figures[target], weights_mib)],
        figures=figures,
    )


def bars(target: Target, figures: Mapping[str, Any], weights_mib: float) -> list[Bar]:
    """Hold the memory to that of the weights, and each comparison to the reference's own run."""
    what = f"{target}: peak memory of the export to the weights"
    return [
        at_most(what, figures["memory_mib"] / weights_mib, MEMORY_TO_WEIGHTS),
        *(
            at_most(
                f"{target} {precision}: comparing to the reference's run",
                seconds / figures["reference_s"],
                COMPARE_TO_REFERENCE,
            )
            for precision, seconds in figures["compare_s"].items()
        ),
    ]


def figures_of(submodel: Submodel, target: Target) -> dict[str, Any]:
    """Export all precisions of a format in this process, which must be fresh."""
    compare_s: dict[str, float] = {}
    with TemporaryDirectory() as scratch:
        os.environ["REEFL_EDGE_HOME"] = str(Path(scratch, "home"))
        export(measured_submodel(is_quick=True).cut(0), target, Path(scratch, "tiny"), {})
        memory_mib = peak_above_imports_mib(
            lambda: lambda: export(submodel, target, Path(scratch, "whole"), compare_s),
            warmup_runs=0,
            runs=1,
        )
        reference_s = reference_seconds(submodel)
    compare_s[PRECISIONS_OF[target][0]] -= reference_s  # the first asks for it
    return {"memory_mib": memory_mib, "reference_s": reference_s, "compare_s": compare_s}


def export(submodel: Submodel, target: Target, folder: Path, compare_s: dict[str, float]) -> None:
    """Export all precisions of a format; leave in ``compare_s`` how long each was compared."""
    from benchmarks.apparatus.artifacts import bundle_of
    from reefl_edge.models.arrays import random_network
    from reefl_export.recipe import stock

    began = 0.0

    def on_stage(stage: str) -> None:
        nonlocal began
        if stage.endswith("compare with the network"):
            began = perf_counter()

    def on_artifact(done: int, _: int) -> None:
        if done:
            compare_s[PRECISIONS_OF[target][done - 1]] = perf_counter() - began

    recipes = stock([target], PRECISIONS_OF[target])
    network = random_network(submodel, seed=0)
    bundle_of(network, recipes, folder, on_stage=on_stage, on_artifact=on_artifact)


def reference_seconds(submodel: Submodel) -> float:
    """Return how long the network itself takes for the images that artifacts are compared on."""
    from reefl_edge.models.arrays import random_network
    from reefl_edge.runtimes.base import default_threads
    from reefl_edge.runtimes.eager import EagerRuntime
    from reefl_export.images import noise
    from reefl_export.parity.comparison import chain_logits

    network, images = random_network(submodel, seed=0), noise(submodel).pixels
    began = perf_counter()
    runtime = EagerRuntime(network, threads=default_threads())
    chain_logits(runtime, images, num_exits=submodel.num_exits)
    return perf_counter() - began


if __name__ == "__main__":
    main()

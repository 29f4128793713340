"""How do traced segments become one ExecuTorch program: methods on XNNPACK, for every batch size?

Written as in ``xnnpack.py``, a segment is one delegated subgraph but for the cast of the 8-bit
images. That matters twice: each subgraph is lowered by passes of its own, and hands its outputs
over in memory at run time. Methods share their weights, which the program holds once.
"""

from collections.abc import Mapping
from typing import Any

from torch.export import ExportedProgram

from reefl_edge.bundles.facts import METADATA_KEY
from reefl_edge.files import replacing_file
from reefl_edge.models.reefl import ReeFL
from reefl_edge.runtimes.executorch import PROGRAM_NAME, method_name
from reefl_export.conversion import Conversion
from reefl_export.executorch.xnnpack import for_batches, written_for_xnnpack
from reefl_export.garbage import own_garbage
from reefl_export.quiet import quiet
from reefl_export.refused import naming_refused
from reefl_export.segments import FORMS, trace_segments

# By the names of the methods.
Programs = Mapping[str, ExportedProgram]


@quiet("torch.utils._pytree", "executorch.backends.xnnpack.partition.xnnpack_partitioner")
@own_garbage()
def export_executorch(conversion: Conversion) -> None:
    """Write every segment, for every batch size of the recipe, as the methods of one program.

    Raises:
        MissingToolchainError: An operator of the network has no kernel.
    """
    from reefl_export.executorch.lowering import forget_programs

    try:
        _write(conversion)
    finally:
        forget_programs()


def _write(conversion: Conversion) -> None:
    traced = trace_methods(conversion)
    with naming_refused(conversion.recipe, traced, RuntimeError):
        program = lower(conversion, traced).to_executorch()
        with (
            replacing_file(conversion.folder / PROGRAM_NAME) as partial,
            partial.open("wb") as file,
        ):
            program.write_to_file(file)


def trace_methods(conversion: Conversion) -> Programs:
    """Trace every segment for every batch size: the same programs for every precision."""
    sizes = conversion.recipe.batch_sizes

    def make() -> Programs:
        conversion.say("trace")
        programs: dict[str, ExportedProgram] = {}
        for size in sizes:
            network = for_batches(_written(conversion), size)
            traced = trace_segments(network, batch_size=size, forms=FORMS["executorch"])
            programs |= {
                method_name(segment, size): traced[segment.name]
                for segment in conversion.segments()
            }
        return programs

    return conversion.shared.once(("executorch, traced", sizes), make)


def _written(conversion: Conversion) -> ReeFL:
    return conversion.shared.once(
        "executorch, written", lambda: written_for_xnnpack(conversion.network)
    )


def lower(conversion: Conversion, traced: Programs) -> Any:
    """Return traced methods in the recipe's precision on XNNPACK: an ``EdgeProgramManager``.

    Raises:
        RuntimeError: An operator has no kernel.
    """
    from reefl_export.executorch.lowering import lower_to_xnnpack, to_edge_dialect

    float32 = conversion.shared.once(
        ("executorch, edge dialect", conversion.recipe.batch_sizes), lambda: to_edge_dialect(traced)
    )
    programs = _narrowed(conversion, float32)
    conversion.say("lower to XNNPACK")
    return lower_to_xnnpack(programs, {METADATA_KEY: conversion.facts})


def _narrowed(conversion: Conversion, float32: Programs) -> Programs:
    """Bring programs in the edge dialect to the recipe's precision."""
    if conversion.recipe.precision == "fp32":
        return float32
    from reefl_export.executorch.int8 import calibrate
    from reefl_export.executorch.quantised import quantised

    roundings = {}
    if conversion.recipe.precision == "int8-static":
        assert conversion.calibration is not None  # the bundle has seen to it
        conversion.say("calibrate")
        roundings = calibrate(_written(conversion), conversion.calibration)
    conversion.say("quantise")
    return {
        name: quantised(program, conversion.recipe.keep_float, roundings)
        for name, program in float32.items()
    }

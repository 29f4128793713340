"""How do traced segments become one ExecuTorch program: methods on XNNPACK, for every batch size?

Written as in ``xnnpack.py``, a segment is one delegated subgraph but for the cast of the 8-bit
images. That matters twice: each subgraph is lowered by some fifty passes of its own, and hands its
outputs over in memory at run time. Methods share their weights, which the program holds once.
"""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch._ops import OpOverload
from torch.export import ExportedProgram
from torch.fx.traceback import NodeSource

from reefl_edge.bundles.facts import METADATA_KEY
from reefl_edge.files import write_bytes
from reefl_edge.models.reefl import ReeFL
from reefl_edge.runtimes.executorch import PROGRAM_NAME, method_name
from reefl_export.conversion import Conversion
from reefl_export.executorch.xnnpack import written_for_xnnpack
from reefl_export.quiet import quiet
from reefl_export.refused import naming_refused
from reefl_export.segments import FORMS, trace_segments


@quiet("torch.utils._pytree")
def export_executorch(conversion: Conversion) -> None:
    """Write every segment, for every batch size of the recipe, as the methods of one program.

    Raises:
        MissingToolchainError: An operator of the network has no kernel.
    """
    programs = trace_methods(conversion)
    conversion.say("lower to XNNPACK")
    with naming_refused(conversion.recipe, programs, RuntimeError):
        write_bytes(
            conversion.folder / PROGRAM_NAME, lower(conversion, programs).to_executorch().buffer
        )


def trace_methods(conversion: Conversion) -> dict[str, ExportedProgram]:
    """Trace every segment for every batch size, by the name of its method."""
    conversion.say("trace")
    quantise = _quantiser(conversion)
    programs: dict[str, ExportedProgram] = {}
    for size in conversion.recipe.batch_sizes:
        network = written_for_xnnpack(conversion.network, batch_size=size)
        quantise(network)
        traced = trace_segments(network, batch_size=size, forms=FORMS["executorch"])
        programs |= {
            method_name(segment, size): traced[segment.name] for segment in conversion.segments()
        }
    return programs


@quiet("torch.utils._pytree", "executorch.backends.xnnpack.partition.xnnpack_partitioner")
def lower(conversion: Conversion, programs: dict[str, ExportedProgram]) -> Any:
    """Return all methods lowered to XNNPACK: an ``EdgeProgramManager``.

    In two calls: ``to_edge_transform_and_lower`` decomposes every program three times to ask which
    operators to leave whole, and the answer is known.
    """
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import EdgeCompileConfig, to_edge
    from executorch.exir.passes import remove_unused_parameters_pass

    partitioner = XnnpackPartitioner()
    whole = {
        operator
        for program in programs.values()
        for operator in partitioner.ops_to_not_decompose(program)[0]
    }
    config = EdgeCompileConfig(preserve_ops=list(whole), _check_ir_validity=False)
    with without_ballast():
        edge = to_edge(
            programs, constant_methods={METADATA_KEY: conversion.facts}, compile_config=config
        )
        lowered = edge.to_backend(partitioner)
    for name in programs:
        program = lowered.exported_program(name)
        # The delegate holds a copy of what it reads.
        remove_unused_parameters_pass(program)
        hold_to_core(program)
    return lowered


def hold_to_core(program: ExportedProgram) -> None:
    """Refuse an operator outside the delegate that no ExecuTorch runtime must have."""
    for node in program.graph.nodes:
        operator = getattr(node.target, "_op", None)  # of the edge dialect
        if not isinstance(operator, OpOverload) or operator.namespace != "aten":
            continue
        if not _is_core(operator):
            raise RuntimeError(f"{operator} is no core operator")


def _is_core(operator: OpOverload) -> bool:
    """Whether an operator, or the view that it copies, is of the core set."""
    _, name = operator._schema.name.split("::")
    packet = getattr(torch.ops.aten, name.removesuffix("_copy"), None)
    original = getattr(packet, operator._overloadname, operator)
    return torch.Tag.core in operator.tags or torch.Tag.core in original.tags


def _quantiser(conversion: Conversion) -> Callable[[ReeFL], None]:
    """Return what makes a network, written for XNNPACK, compute as the recipe says."""
    if conversion.recipe.precision == "fp32":
        return lambda _: None
    from reefl_export.executorch.int8 import calibrate, quantise_dynamic, quantise_static

    keep_float = conversion.recipe.keep_float
    if conversion.recipe.precision == "int8-dynamic":
        return lambda network: quantise_dynamic(network, keep_float)
    assert conversion.calibration is not None  # the bundle has seen to it
    conversion.say("calibrate")
    roundings = calibrate(conversion.network, conversion.calibration)
    return lambda network: quantise_static(network, roundings, keep_float)


@contextmanager
def without_ballast() -> Iterator[None]:
    """Spare the lowering what takes a good part of its time and adds nothing to the program.

    Every pass copies of every node where it came from, through all passes before; nothing changes
    these notes, so they can be shared. The garbage collector walks through millions of nodes that
    are all in use.
    """
    had_collector = gc.isenabled()
    gc.disable()
    NodeSource.__deepcopy__ = lambda self, _: self  # type: ignore[attr-defined]
    try:
        yield
    finally:
        del NodeSource.__deepcopy__  # type: ignore[attr-defined]
        if had_collector:
            gc.enable()

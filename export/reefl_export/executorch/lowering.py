"""How are traced segments lowered to XNNPACK, without what ExecuTorch does for other networks?

ExecuTorch walks through a program some thirty times, and traces nearly all of it anew each time.
Of these *passes*, most look for operations that no network here has.
"""

from collections.abc import Callable, Iterator, Mapping, Sized
from contextlib import contextmanager
from typing import Any, cast
from unittest.mock import patch

import torch
from executorch.backends.xnnpack import xnnpack_preprocess
from executorch.backends.xnnpack._passes import XNNPACKPassManager, XNNPACKRemoveCloneOpsTransform
from executorch.backends.xnnpack._passes.channels_last_tagged_reshape_pass import (
    ChannelsLastTaggedReshapePass,
)
from executorch.backends.xnnpack._passes.decompose_cat import DecomposeConcatenate
from executorch.backends.xnnpack._passes.fuse_activation_pass import FuseActivationPass
from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
from executorch.exir import EdgeCompileConfig, EdgeProgramManager, to_edge
from executorch.exir.backend.utils import WhyNoPartition, is_same_node
from executorch.exir.dialects._ops import ops as edge_ops
from executorch.exir.passes import remove_unused_parameters_pass
from executorch.exir.program import _program
from torch import fx
from torch._ops import OpOverload
from torch._subclasses import FakeTensorMode
from torch.export import ExportedProgram
from torch.fx.traceback import NodeSource

_ATEN: Any = edge_ops.edge.aten
# The most arrays that XNNPACK puts side by side at once.
_LONGEST_CAT = 5


def _is_long_cat(node: fx.Node) -> bool:
    return node.target is _ATEN.cat.default and len(cast(Sized, node.args[0])) > _LONGEST_CAT


# Which passes of XNNPACK do anything in a network of ours, and to which nodes.
_PASSES: dict[type, Callable[[fx.Node], bool]] = {
    XNNPACKRemoveCloneOpsTransform: lambda _: True,
    FuseActivationPass: lambda node: node.target is _ATEN.relu.default,
    DecomposeConcatenate: _is_long_cat,
    ChannelsLastTaggedReshapePass: lambda node: node.target is _ATEN.convolution.default,
}


def to_edge_dialect(traced: Mapping[str, ExportedProgram]) -> dict[str, ExportedProgram]:
    """Return traced programs in the dialect that XNNPACK takes.

    Not by ``to_edge_transform_and_lower``: it decomposes every program three times to ask which
    operators to leave whole, and the answer is known.
    """
    partitioner = XnnpackPartitioner()
    whole = {
        operator
        for program in traced.values()
        for operator in partitioner.ops_to_not_decompose(program)[0]
    }
    config = EdgeCompileConfig(preserve_ops=list(whole), _check_ir_validity=False)
    with _without_ballast():
        edge = to_edge(dict(traced), compile_config=config)
    return {name: edge.exported_program(name) for name in traced}


def lower_to_xnnpack(
    programs: Mapping[str, ExportedProgram], facts: Mapping[str, str]
) -> EdgeProgramManager:
    """Lower programs in the edge dialect to XNNPACK; what is outside holds to core operators.

    Args:
        programs: By the names of the methods; they stay as they are.
        facts: Methods that return a constant.

    Raises:
        RuntimeError: An operator has no kernel in every ExecuTorch runtime.
    """
    config = EdgeCompileConfig(_check_ir_validity=False)
    edge = EdgeProgramManager(dict(programs), dict(facts), config)
    with _without_ballast():
        lowered = edge.to_backend(XnnpackPartitioner())
    for name in programs:
        program = lowered.exported_program(name)
        # The delegate holds a copy of what it reads.
        remove_unused_parameters_pass(program)
        hold_to_core(program)
    return lowered


def forget_programs() -> None:
    """Let torch and ExecuTorch forget what they were asked: by nodes, so with whole programs."""
    FakeTensorMode.cache_clear()
    is_same_node.cache_clear()


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


@contextmanager
def lean_copies() -> Iterator[None]:
    """Let copies of a program share what nothing changes, and nothing keep a program behind.

    Of every node, passes would copy where it came from, through all passes before; of a program,
    its arrays, into whose places passes put others. And the last node that no partition took would
    stay, to be logged.
    """
    with (
        patch.object(NodeSource, "__deepcopy__", lambda self, _: self, create=True),
        patch.object(torch.Tensor, "__deepcopy__", lambda self, _: self),
        patch.object(torch.nn.Parameter, "__deepcopy__", lambda self, _: self),
        patch.object(WhyNoPartition, "__call__", lambda *_, **__: None),
    ):
        yield


@contextmanager
def _without_ballast() -> Iterator[None]:
    """Spare the lowering what takes a good part of its time and adds nothing to the program.

    Passes that find nothing to do in our networks, and copies.
    """
    with (
        lean_copies(),
        patch.object(_program, "_get_aten_to_edge_passes", lambda _: ([], [])),
        patch.object(xnnpack_preprocess, "XNNPACKPassManager", _few_passes),
    ):
        yield


def _few_passes(program: ExportedProgram, passes: Any) -> XNNPACKPassManager:
    """Return what applies XNNPACK's passes to a program, those that find nothing left out."""
    manager = XNNPACKPassManager(program, passes)
    nodes = program.graph.nodes
    manager.passes = [
        each for each in manager.passes if each in _PASSES and any(map(_PASSES[each], nodes))
    ]
    return manager

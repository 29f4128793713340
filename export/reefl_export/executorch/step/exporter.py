"""How does a training step become an ExecuTorch program: one method that XNNPACK runs?

Written as in ``forms.py``, XNNPACK takes all of a step but casts of its inputs, and the comparison
of labels. Where these lie between, the step is cut: tiny networks' are one delegated subgraph,
DeiT's one (full), two (LoRA) or three (frozen).
Weights of the forward and of the backward pass are the same bytes of the program.
"""

from typing import Any

import torch

from reefl_edge.bundles.facts import METADATA_KEY
from reefl_edge.files import replacing_file
from reefl_edge.models.reefl import ReeFL
from reefl_edge.runtimes.executorch import STEP_METHOD
from reefl_export.executorch.step.trace import example_inputs, trace_step
from reefl_export.garbage import own_garbage
from reefl_export.quiet import quiet
from reefl_export.training import StepConversion

aten = torch.ops.aten

# Left whole by the lowering: XNNPACK takes them as they are.
_WHOLE = (
    aten.linear.default,
    aten.permute_copy.default,
    aten.slice_copy.Tensor,
    aten.view_copy.default,
)


@quiet("torch.utils._pytree", "executorch.backends.xnnpack.partition.xnnpack_partitioner")
@own_garbage()
def export_step(conversion: StepConversion) -> None:
    """Write the training step of a network's regime as an ExecuTorch program.

    Raises:
        RuntimeError: An operator of the network has no kernel.
    """
    from reefl_export.executorch.lowering import forget_programs

    conversion.say("trace and lower to XNNPACK")
    try:
        lowered = lower_step(
            conversion.network, batch_size=conversion.batch_size, facts=conversion.facts
        )
        with replacing_file(conversion.path) as partial, partial.open("wb") as file:
            lowered.to_executorch().write_to_file(file)
    finally:
        forget_programs()


@quiet("torch.utils._pytree", "executorch.backends.xnnpack.partition.xnnpack_partitioner")
def lower_step(network: ReeFL, *, batch_size: int, facts: str) -> Any:
    """Return a step lowered to XNNPACK: an ``EdgeProgramManager``.

    Args:
        network: Gives the frozen arrays, and which arrays are trained.
        batch_size: Images of a step; a smaller batch is filled up and masked.
        facts: What the program says of itself, as JSON.
    """
    from executorch.exir import EdgeCompileConfig, to_edge
    from executorch.exir.passes import remove_unused_parameters_pass

    from reefl_export.executorch.lowering import hold_to_core, lean_copies

    module = trace_step(network, batch_size)
    config = EdgeCompileConfig(preserve_ops=list(_WHOLE), _check_ir_validity=False)
    with lean_copies(), torch.no_grad():
        program = torch.export.export(module, example_inputs(network, batch_size))
        edge = to_edge(
            {STEP_METHOD: program}, constant_methods={METADATA_KEY: facts}, compile_config=config
        )
        lowered = edge.to_backend(_partitioner())
    remove_unused_parameters_pass(lowered.exported_program(STEP_METHOD))
    hold_to_core(lowered.exported_program(STEP_METHOD))
    return lowered


def _partitioner() -> Any:
    """Return a partitioner that hands XNNPACK every constant that only XNNPACK reads.

    By itself it hands over the weights of linear layers, and leaves the others, such as those that
    the backward pass multiplies by, in the program: once more where both read the same.
    """
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir.backend.utils import tag_constant_data

    class OwningPartitioner(XnnpackPartitioner):  # type: ignore[misc]
        def partition(self, exported_program: Any) -> Any:
            result = super().partition(exported_program)
            tag_constant_data(exported_program)
            return result

    return OwningPartitioner()

"""Is the traced step, in XNNPACK's operations, the pure step?"""

from dataclasses import replace

import pytest
import torch
from torch.fx import GraphModule

from reefl_edge.models.reefl import ReeFL
from reefl_edge.submodel import REGIMES, Regime, Submodel
from reefl_export.executorch.step.trace import trace_step
from tests.fakes.compiled_steps import Batch, hold_to_pure_step, step_network
from tests.fakes.submodels import tiny_submodel

XNNPACK_TAKES = """
_softmax.default abs.default add.Tensor bmm.default cat.default clamp.default
constant_pad_nd.default div.Tensor exp.default gelu.default linear.default log.default
maximum.default mul.Tensor neg.default permute_copy.default rsqrt.default rsub.Scalar
slice_copy.Tensor sub.Tensor view_copy.default
"""


def traced(submodel: Submodel) -> tuple[ReeFL, GraphModule]:
    network = step_network(submodel)
    return network, trace_step(network, 3)


def operators(module: GraphModule) -> set[str]:
    return {str(node.target) for node in module.graph.nodes if node.op == "call_function"}


@pytest.mark.parametrize("regime", REGIMES)
def test_the_traced_step_is_the_pure_step(regime: Regime) -> None:
    submodel = replace(tiny_submodel(num_blocks=2, num_exits=2), regime=regime)

    network, module = traced(submodel)

    second_teaches = torch.tensor([[0.0, 0.0], [1.0, 0.0]])
    for batch in (
        Batch(running_losses=(9.0, 0.0)),
        Batch(running_losses=(0.0, 9.0), num_examples=2, seed=1),
        Batch(running_losses=(0.0, 9.0), teaches=second_teaches, seed=2),
    ):
        hold_to_pure_step(network, batch, lambda inputs: module(*inputs))


def test_a_step_with_one_exit_has_nobody_to_teach() -> None:
    network, module = traced(tiny_submodel(num_blocks=1, num_exits=1))

    hold_to_pure_step(network, Batch(num_examples=2), lambda inputs: module(*inputs))


def test_nothing_is_left_that_xnnpack_lacks_but_casts_and_the_comparison_of_labels() -> None:
    _, module = traced(tiny_submodel(num_blocks=1, num_exits=1))

    taken = {*XNNPACK_TAKES.split(), "_to_copy.default", "eq.Tensor"}
    assert operators(module) == {f"aten.{name}" for name in taken}


def test_frozen_weights_lie_in_the_program_once() -> None:
    network, module = traced(replace(tiny_submodel(num_blocks=2, num_exits=1), regime="frozen"))
    weight = network.get_parameter("blocks.1.mlp.fc1.weight")

    held = [each for each in module.buffers() if each.numel() == weight.numel()]

    equal = [each for each in held if torch.equal(each.view_as(weight), weight)]
    assert len(equal) == 2  # of a linear layer, and with an axis before it, of the backward pass

"""The cost of an exit, counted by hand and by torch."""

from dataclasses import replace

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from reefl_edge.architectures import named_submodel
from reefl_edge.cost import exit_costs, segment_costs
from reefl_edge.finetune.step import local_step, trained_parameters
from reefl_edge.models.arrays import random_network
from reefl_edge.regimes import REGIMES, Regime
from tests.fakes.submodels import TINY_ARCHITECTURE, tiny_submodel

DEIT_SMALL = named_submodel("deit_small", num_classes=100)

# One image through DeiT-S, 197 tokens of 384; royson/reefl 61b18c1 says 378.39 M and 57.8 M.
BLOCK_MACS = 197 * 12 * 384 * 384 + 2 * 197 * 197 * 384
PATCH_MACS = 196 * 768 * 384

# The accumulator's qkv of one row, and its projection and MLP of one row.
QKV_MACS = 384 * 48
ROW_MACS = 16 * 384 + 2 * 384 * 518


def test_the_reference_figures_are_those_of_the_released_code() -> None:
    backbones = [(PATCH_MACS + depth * BLOCK_MACS) / 1e9 for depth in (3, 6, 9, 12)]

    assert backbones == pytest.approx([1.193, 2.328, 3.463, 4.599], abs=1e-3)


def test_inference_counts_backbone_accumulator_and_classifier() -> None:
    # Three calls of the accumulator: it asks for one row, one row, and at the exit for two; the
    # tokens it sees grow from two to four, each worth 2 * 16 products per row.
    accumulator = 3 * 3 * QKV_MACS + (1 + 1 + 2) * ROW_MACS + 32 * (1 * 2 + 1 * 3 + 2 * 4)
    classifier = 384 * 100

    first = exit_costs(DEIT_SMALL)[0]

    assert first.inference.macs == PATCH_MACS + 3 * BLOCK_MACS + accumulator + classifier


def test_twelve_exits_cost_what_the_incremental_accumulator_costs() -> None:
    submodel = named_submodel("deit_small", num_classes=100, num_exits=12)
    total = exit_costs(submodel)[-1].inference.macs
    accumulator = total - PATCH_MACS - 12 * BLOCK_MACS - 12 * 384 * 100
    # The leanest form keeps the meta token's qkv and asks no query of a row to remember: 10.07 M.
    leanest = accumulator - 12 * (QKV_MACS + QKV_MACS // 3)

    assert leanest == 10_069_632
    assert accumulator == 10_364_544


@pytest.mark.parametrize("regime", REGIMES)
def test_macs_are_those_torch_counts(regime: Regime) -> None:
    submodel = replace(tiny_submodel(), regime=regime)
    network = random_network(submodel, seed=0)
    deployed = random_network(submodel.folded(), seed=0)
    batch_size = 3
    images = torch.rand(batch_size, 3, 16, 16)
    cost = exit_costs(submodel, batch_size=batch_size)[-1]

    # torch counts the attention of a CPU only where it is written out.
    with sdpa_kernel(SDPBackend.MATH):
        with FlopCounterMode(display=False) as inference, torch.no_grad():
            deployed(images)
        with FlopCounterMode(display=False) as step:
            local_step(
                network,
                trained_parameters(network),
                torch.zeros(submodel.num_exits),
                images,
                torch.tensor([0, 1, 2]),
                torch.tensor(0.01),
                torch.tensor(0.5),
            )

    assert inference.get_total_flops() == 2 * batch_size * cost.inference.macs
    # What the accumulator remembers after the last block is used by nobody: it gets no gradient.
    unused = 2 * batch_size * TINY_ARCHITECTURE.width * 3 * TINY_ARCHITECTURE.accumulator_width
    # Who learns from whom is a product of teachers with students: exits and classes, no width.
    distilled = 2 * submodel.num_exits**2 * batch_size * TINY_ARCHITECTURE.num_classes
    assert step.get_total_flops() == 2 * (cost.step.macs - unused + distilled)


def test_a_step_holds_a_copy_of_the_trained_arrays_beside_the_weights() -> None:
    frozen = named_submodel("deit_small", num_classes=100, regime="frozen")

    full_cost, frozen_cost = exit_costs(DEIT_SMALL)[-1], exit_costs(frozen)[-1]

    # 22,134,810 arrays' elements, of which 469,914 are shared (royson/reefl 61b18c1, C = 100).
    assert full_cost.inference.weight_bytes == 4 * 22_134_810
    assert full_cost.step.weight_bytes == 2 * 4 * 22_134_810
    assert frozen_cost.step.weight_bytes == 4 * (22_134_810 + 469_914)


def test_a_frozen_backbone_keeps_less_and_nothing_of_its_first_block() -> None:
    frozen = named_submodel("deit_small", num_classes=100, num_exits=12, regime="frozen")
    tokens, hidden = 197 * 384, 197 * 1536

    costs = segment_costs(frozen, batch_size=2)

    assert costs[0].step.activation_bytes == 0
    assert costs[1].step.activation_bytes == 4 * 2 * (6 * tokens + hidden)


def test_activations_of_inference_are_freed_and_those_of_a_step_add_up() -> None:
    costs = exit_costs(tiny_submodel(), batch_size=2)
    tokens, hidden = 5 * 16, 5 * 64

    # The MLP holds most: the residual, and the hidden layer before and after GELU.
    pixels = 3 * 16 * 16 + tokens
    assert [cost.inference.activation_bytes for cost in costs] == [4 * pixels, 4 * pixels]
    assert segment_costs(tiny_submodel())[1].inference.activation_bytes == 4 * (tokens + 2 * hidden)
    kept = 4 * 2 * (8 * tokens + 2 * hidden)
    assert [cost.step.activation_bytes for cost in costs] == [2 * kept, 4 * kept]


def test_segments_add_up_to_the_deepest_exit() -> None:
    segments = segment_costs(DEIT_SMALL, batch_size=4)
    deepest = exit_costs(DEIT_SMALL, batch_size=4)[-1]

    assert sum(segment.inference.macs for segment in segments) == deepest.inference.macs
    assert sum(segment.step.macs for segment in segments) == deepest.step.macs
    assert sum(segment.step.weight_bytes for segment in segments) == deepest.step.weight_bytes


def test_adapters_count_where_they_stay_in_the_deployed_network() -> None:
    plain = exit_costs(DEIT_SMALL)[-1].inference
    lora, parallel, serial, ssf = (
        exit_costs(DEIT_SMALL.with_regime(regime))[-1] for regime in REGIMES[2:]
    )
    products = 12 * 4 * 197 * 384 * 32  # two adapters a block, down and up

    assert lora.inference == ssf.inference == plain
    assert parallel == serial
    assert parallel.inference.macs == plain.macs + products
    assert parallel.inference.weight_bytes == plain.weight_bytes + 4 * 12 * 49_984
    # 49,152 numbers a block beside 22,134,810; 1,059,738 learn, in a copy (royson/reefl 61b18c1).
    held = 22_134_810 + 12 * 49_152 + 1_059_738
    assert lora.step.weight_bytes == 4 * held


@pytest.mark.parametrize("regime", REGIMES)
@pytest.mark.parametrize("block_index", [0, 1])
def test_a_step_keeps_the_activations_that_torch_keeps(regime: Regime, block_index: int) -> None:
    architecture = replace(TINY_ARCHITECTURE, width=64, image_size=64)
    submodel = replace(tiny_submodel(num_exits=4), architecture=architecture).with_regime(regime)
    block = random_network(submodel, seed=0).blocks[block_index]
    # Tokens need a gradient behind the accumulator, or behind trained patches.
    needs_gradient = block_index > 0 or regime in ("full", "ssf")
    tokens = torch.randn(1, architecture.num_tokens, 64)
    weights = {parameter.untyped_storage().data_ptr() for parameter in block.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        # Statistics of norms and attention, a few numbers a token, are left out.
        if storage.data_ptr() not in weights and tensor.numel() > 10 * architecture.num_tokens:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        output = block(tokens.requires_grad_(needs_gradient))

    assert output.requires_grad == (needs_gradient or regime != "frozen")
    assert sum(kept.values()) == segment_costs(submodel)[block_index].step.activation_bytes

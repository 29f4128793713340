"""Tiny networks whose numbers are large enough for a wrong formula to show."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from reefl_edge.models import ReeFL, build
from reefl_edge.models.checkpoint import arrays_of
from reefl_edge.submodel import ExitSchedule, Regime, Submodel
from reefl_edge.weights import Checkpoint
from tests.fakes import TINY_ARCHITECTURE


def deep_submodel(*, num_exits: int, max_exit: int, regime: Regime = "full") -> Submodel:
    """Return a sub-model of a tiny backbone with twelve blocks, as many as DeiT has."""
    return Submodel(
        architecture=replace(TINY_ARCHITECTURE, num_blocks=12),
        schedule=ExitSchedule.evenly_spaced(num_blocks=12, num_exits=num_exits),
        max_exit=max_exit,
        regime=regime,
    )


def lively_network(submodel: Submodel, *, seed: int = 0, scale: float = 0.3) -> ReeFL:
    """Build a network none of whose arrays is small, zero or one.

    ReeFL's own start of 0.02 would hide most mistakes below any tolerance.
    """
    network = build(submodel).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in network.modules():
            for name, parameter in module.named_parameters(recurse=False):
                noise = torch.randn(parameter.shape, generator=generator) * scale
                is_gain = isinstance(module, nn.LayerNorm) and name == "weight"
                parameter.copy_(1 + noise if is_gain else noise)
    return network


def normal_images(count: int, *, edge: int = 16, seed: int = 0) -> Tensor:
    """Return images as a network reads them: noise of mean 0 and deviation 1, (B, 3, H, W)."""
    return torch.randn(count, 3, edge, edge, generator=torch.Generator().manual_seed(seed))


def checkpoint_of(network: ReeFL) -> Checkpoint:
    """Return the arrays of a network."""
    return Checkpoint(submodel=network.submodel, arrays=arrays_of(network))

"""Networks whose numbers are large enough for a wrong formula to show."""

import torch
from torch import Tensor, nn

from reefl_edge.checkpoints.checkpoint import Checkpoint
from reefl_edge.models import build
from reefl_edge.models.arrays import arrays_of
from reefl_edge.models.reefl import ReeFL
from reefl_edge.submodel import Submodel
from tests.fakes.submodels import NARROW


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


def checkpoint_of(network: ReeFL) -> Checkpoint:
    """Return the arrays of a network."""
    return Checkpoint(submodel=network.submodel, arrays=arrays_of(network))


def normal_images(count: int, *, edge: int = 16, seed: int = 0) -> Tensor:
    """Return images as a network reads them: noise of mean 0 and deviation 1, (B, 3, H, W)."""
    return torch.randn(count, 3, edge, edge, generator=torch.Generator().manual_seed(seed))


def random_arrays(submodel: Submodel, *, seed: int = 0) -> dict[str, Tensor]:
    """Draw every array, LoRA's zeros too: norms and scales around one, all others around zero."""
    generator = torch.Generator().manual_seed(seed)
    arrays = {}
    for spec in submodel.arrays():
        is_factor = spec.name.endswith(("norm.weight", "norm1.weight", "norm2.weight", ".scale"))
        noise = torch.randn(spec.shape, generator=generator)
        arrays[spec.name] = 0.1 * noise + (1.0 if is_factor else 0.0)
    return arrays


def random_batch(*, size: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return normalised images (B, 3, H, W) and labels (B,)."""
    generator = torch.Generator().manual_seed(seed)
    edge = NARROW.image_size
    images = torch.randn(size, 3, edge, edge, generator=generator)
    return images, torch.randint(NARROW.num_classes, (size,), generator=generator)

"""How do arrays get into a network and out of it?

This file turns torch tensors into numpy arrays and back; files of them are read and written without
torch (``reefl_edge.checkpoints``).
"""

import torch

from reefl_edge.array_files.safetensors import Arrays
from reefl_edge.models.build import build
from reefl_edge.models.reefl import ReeFL
from reefl_edge.submodel import Submodel


def network_from(submodel: Submodel, arrays: Arrays) -> ReeFL:
    """Build a network and fill it with arrays, (name to array, as ``Submodel.arrays`` lists)."""
    network = build(submodel)
    network.load_state_dict(
        {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
    )
    return network.eval()


def random_network(submodel: Submodel, *, seed: int) -> ReeFL:
    """Build a network with random weights, the same ones for the same seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build(submodel).eval()


def arrays_of(network: ReeFL) -> Arrays:
    """Return a network's arrays by name."""
    return {name: tensor.detach().cpu().numpy() for name, tensor in network.state_dict().items()}

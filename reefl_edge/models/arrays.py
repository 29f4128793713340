"""How do arrays get into a network and out of it?

This file turns torch tensors into numpy arrays and back; files of them are read and written without
torch (``reefl_edge.checkpoints``).
"""

import numpy as np
import torch
from numpy.typing import NDArray

from reefl_edge.array_files.safetensors import Arrays
from reefl_edge.models.build import build
from reefl_edge.models.reefl import ReeFL
from reefl_edge.submodel import Submodel


def network_from(submodel: Submodel, arrays: Arrays, *, is_shared: bool = False) -> ReeFL:
    """Build a network of arrays.

    Args:
        submodel: What it is the network of.
        arrays: Array by name, as ``Submodel.arrays`` lists them.
        is_shared: The network reads these very arrays, which nobody may change then, instead of
            copies of its own.
    """
    with torch.device("meta"):  # weights of its own would be replaced
        network = build(submodel)
    network.load_state_dict(
        {name: _tensor(array, is_shared=is_shared) for name, array in arrays.items()}, assign=True
    )
    return network.eval()


def _tensor(array: NDArray[np.float32], *, is_shared: bool) -> torch.Tensor:
    """Turn an array into a tensor; PyTorch has none that cannot be written to."""
    is_kept = is_shared and array.flags.writeable
    return torch.from_numpy(array if is_kept else array.copy())


def random_network(submodel: Submodel, *, seed: int) -> ReeFL:
    """Build a network with random weights, the same ones for the same seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build(submodel).eval()


def arrays_of(network: ReeFL) -> Arrays:
    """Return a network's arrays by name."""
    return {name: tensor.detach().cpu().numpy() for name, tensor in network.state_dict().items()}

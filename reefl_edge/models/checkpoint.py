"""How do a network's arrays get into a file and out of it?

A *checkpoint* holds all arrays of a sub-model, an *update* only the trained ones and what they were
trained from. Both are safetensors files whose metadata says what they are; nothing is unpickled.
This file moves torch tensors; ``reefl_edge.weights`` knows the format, without torch.
"""

from pathlib import Path

import torch

from reefl_edge import weights
from reefl_edge.models.build import build
from reefl_edge.models.reefl import ReeFL
from reefl_edge.submodel import Submodel


def save_checkpoint(
    model: ReeFL,
    path: str | Path,
    *,
    class_names: tuple[str, ...] | None = None,
    random: weights.RandomPart = "nothing",
) -> None:
    """Write all arrays of a network, whole or not at all.

    Args:
        model: The network.
        path: The .safetensors file.
        class_names: One name per class, to travel with the weights.
        random: What of the network is random, so that nobody takes it for trained.

    Raises:
        DivergenceError: An array holds NaN or an infinity.
    """
    weights.write_checkpoint(
        weights.Checkpoint(
            submodel=model.submodel,
            arrays=arrays_of(model),
            class_names=class_names,
            random=random,
        ),
        Path(path),
    )


def network_from(submodel: Submodel, arrays: weights.Arrays) -> ReeFL:
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


def arrays_of(network: ReeFL) -> weights.Arrays:
    """Return a network's arrays by name."""
    return {name: tensor.detach().cpu().numpy() for name, tensor in network.state_dict().items()}

"""What is the identity of a set of arrays?"""

import hashlib

import numpy as np

from reefl_edge.array_files.safetensors import Arrays
from reefl_edge.regimes import Regime, is_adapter, is_trained


def weights_sha256(arrays: Arrays) -> str:
    """Return the identity of a set of arrays: the hash of their names, shapes and content."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name], dtype="<f4")
        digest.update(f"{name} {array.shape}\n".encode())
        digest.update(array.data)
    return digest.hexdigest()


def base_sha256(arrays: Arrays) -> str:
    """Return the identity of what an update is trained from: the hash of the plain arrays alone.

    Adapters do not count, because whoever applies the update may have none: a client draws its own
    on a plain checkpoint. Nothing is lost: every adapter travels, so what the update gives does not
    depend on what they were.
    """
    return weights_sha256({name: array for name, array in arrays.items() if not is_adapter(name)})


def frozen_sha256(arrays: Arrays, regime: Regime) -> str:
    """Return the identity of what a regime does not train: it is the same in every round."""
    return weights_sha256(
        {name: array for name, array in arrays.items() if not is_trained(name, regime)}
    )

"""Which arrays go into an exported bundle, and which of them are other ones than before?"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from reefl_edge.array_files.safetensors import not_finite
from reefl_edge.checkpoints.checkpoint import Checkpoint
from reefl_edge.errors import DivergenceError


@dataclass(frozen=True, slots=True, kw_only=True)
class Filling:
    """What an exported bundle is to hold.

    Attributes:
        trained: The checkpoint after training, its adapters not folded.
        deployed: What the bundle infers with: the same, folded.
        changed: The arrays of ``deployed`` that are others than the bundle holds, by their names.
    """

    trained: Checkpoint
    deployed: Checkpoint
    changed: frozenset[str]

    @classmethod
    def of(cls, trained: Checkpoint, *, held: Checkpoint) -> Self:
        """Derive what is deployed.

        Args:
            trained: The checkpoint after training.
            held: What the bundle holds.

        Raises:
            DivergenceError: A folded array left the finite numbers.
        """
        deployed = trained.folded()
        changed = {
            name: array
            for name, array in deployed.arrays.items()
            if not same_array(array, held.arrays.get(name))
        }
        if (name := not_finite(changed)) is not None:
            raise DivergenceError(f"{name} holds NaN or infinity once the update is applied")
        return cls(trained=trained, deployed=deployed, changed=frozenset(changed))


def same_array(one: "np.ndarray[tuple[int, ...], np.dtype[np.float32]]", other: object) -> bool:
    """Tell whether two arrays are the same, to the bit where they are finite."""
    return one is other or (other is not None and np.array_equal(one, np.asarray(other)))

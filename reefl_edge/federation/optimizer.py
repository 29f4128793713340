"""What does the server make of the average of a round?

FedAvg takes it. FedAdam takes the way from the model to it for a gradient and makes a step of Adam,
in those arrays and rows alone that somebody trained.

Source: Reddi et al. 2021, "Adaptive Federated Optimization", with the constants of royson/reefl
61b18c1, which corrects no bias.
"""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from reefl_edge.array_files.safetensors import Arrays
from reefl_edge.federation.average import Held

_FIRST_DECAY = 0.9
_SECOND_DECAY = 0.999
_EPSILON = 1e-6
LEARNING_RATE = 1e-3


class ServerOptimizer(Protocol):
    """Makes the arrays of the next round out of those of this one, and of their average."""

    def step(self, current: Arrays, average: Arrays, held: Held) -> Arrays:
        """Return the arrays of the next round.

        Args:
            current: The trained arrays that the round began with.
            average: What clients made of them, on average.
            held: Which arrays and rows somebody trained.
        """
        ...

    def state(self) -> Arrays:
        """Return what a server that goes on after it was stopped must know, by name."""
        ...

    def load(self, state: Arrays) -> None:
        """Go on from a state; an empty one is the beginning."""
        ...


class FedAvg:
    """Takes the average as it is."""

    def step(self, current: Arrays, average: Arrays, held: Held) -> Arrays:  # noqa: ARG002
        """Return the average."""
        return average

    def state(self) -> Arrays:
        """Return nothing: an average has no memory."""
        return {}

    def load(self, state: Arrays) -> None:
        """Go on from nothing.

        Raises:
            ValueError: There is a state, and so it is another optimizer's.
        """
        if state:
            raise ValueError(f"FedAvg keeps no state, but got {', '.join(sorted(state))}")


class FedAdam:
    """Takes a step of Adam towards the average.

    Attributes:
        learning_rate: Size of a step.
    """

    def __init__(self, *, learning_rate: float = LEARNING_RATE) -> None:
        if not 0 < learning_rate < np.inf:
            raise ValueError(f"the server's learning rate must be positive, got {learning_rate}")
        self.learning_rate = learning_rate
        self._state: Arrays = {}

    def step(self, current: Arrays, average: Arrays, held: Held) -> Arrays:
        """Return the arrays after a step; what nobody trained stays, and so do its moments."""
        return {
            name: self._stepped(name, array, average[name], held[name])
            if held[name].any()
            else array
            for name, array in current.items()
        }

    def _stepped(
        self,
        name: str,
        current: NDArray[np.float32],
        average: NDArray[np.float32],
        held: NDArray[np.bool_],
    ) -> NDArray[np.float32]:
        gradient = current.astype(np.float64) - average
        first = self._moment(f"first.{name}", gradient, held, decay=_FIRST_DECAY)
        second = self._moment(f"second.{name}", gradient**2, held, decay=_SECOND_DECAY)
        step = self.learning_rate * first / (np.sqrt(second) + _EPSILON)
        return np.where(held, current - step, current).astype(np.float32)

    def _moment(
        self, name: str, seen: NDArray[np.float64], held: NDArray[np.bool_], *, decay: float
    ) -> NDArray[np.float32]:
        """Return a running mean after what was seen; kept as float32, as its state is."""
        before = self._state.get(name, np.zeros(seen.shape, np.float32))
        after = np.where(held, decay * before + (1 - decay) * seen, before).astype(np.float32)
        self._state[name] = after
        return after

    def state(self) -> Arrays:
        """Return both moments of every array that was trained, by name."""
        return dict(self._state)

    def load(self, state: Arrays) -> None:
        """Go on from a state that ``state`` gave."""
        self._state = dict(state)

"""How are trained arrays of mixed depth averaged?

Every array over the clients that have it, and every row of a row-wise array over the clients that
are deep enough for it; weighted, as a rule by examples; what nobody trained stays. Updates are
added one by one: memory does not grow with their number. Sums are float64, what comes of them is
float32. The order in which updates are added may change the last bits of a sum, and no more.

Source: FedAvg, McMahan et al. 2017, array by array as in royson/reefl 61b18c1, which however also
averages the rows of the depth embedding that a client did not train.
"""

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from reefl_edge.array_files.safetensors import Arrays
from reefl_edge.checkpoints.update import Update
from reefl_edge.submodel import ArraySpec, Shape, Submodel

Sums = dict[str, NDArray[np.float64]]
# One element per row where rows belong to depths, and one in all otherwise; with as many axes as
# the array, so that it goes along with it in arithmetic.
PerRow = dict[str, NDArray[np.float64]]
Held = dict[str, NDArray[np.bool_]]

# Elements that are added at once: half a MiB of float64.
_PIECE = 2**16


class Average(Protocol):
    """Takes the updates of a round, one by one, and gives their average."""

    def add(self, update: Update, weight: float) -> None:
        """Count an update, by a positive weight."""
        ...

    def average(self, current: Arrays) -> Arrays:
        """Return the average where there is one, and what is current elsewhere."""
        ...

    def held(self) -> Held:
        """Return of which arrays, and of which rows, there is an average."""
        ...


class RunningAverage:
    """A weighted average of updates of one model, as shallow or deep as they are.

    Attributes:
        sums: Weighted sum of every trained array of the whole sub-model.
        weights: What the weights of every array, or row, add up to.
    """

    def __init__(self, submodel: Submodel) -> None:
        self._whole = submodel
        specs = submodel.trained_arrays()
        self._row_wise = frozenset(spec.name for spec in specs if spec.is_row_wise)
        self.sums: Sums = {spec.name: np.zeros(spec.shape) for spec in specs}
        self.weights: PerRow = {spec.name: np.zeros(per_row_shape(spec)) for spec in specs}
        self._scratch = np.empty(_PIECE)

    def add(self, update: Update, weight: float) -> None:
        """Add the arrays of an update; rows that it is too shallow for do not count.

        Raises:
            ValueError: The weight is not positive, or the update is deeper, of another model or
                regime, or holds other arrays than those that its sub-model trains.
        """
        if not 0 < weight < math.inf:
            raise ValueError(f"an update's weight must be positive and finite, got {weight}")
        self._check(update)
        for name, array in update.arrays.items():
            rows = trained_rows(name in self._row_wise, update.submodel.depth)
            self._add(self.sums[name][rows].reshape(-1), array[rows].reshape(-1), weight)
            self.weights[name][rows] += weight

    def average(self, current: Arrays) -> Arrays:
        """Return the average of what was added; arrays and rows that nobody trained stay.

        Args:
            current: The trained arrays of the whole sub-model, some of which stay.
        """
        return {name: self._averaged(name, array) for name, array in current.items()}

    def held(self) -> Held:
        """Return of which arrays, and of which rows, there is an average."""
        return {name: weights > 0 for name, weights in self.weights.items()}

    def _add(self, total: NDArray[np.float64], array: NDArray[np.float32], weight: float) -> None:
        """Add a weighted array to its sum, both flat.

        To convert, multiply and add apart costs less than to do so in operations of mixed types,
        and in pieces that stay in the processor's cache it takes no memory.
        """
        for begin in range(0, len(array), _PIECE):
            piece = array[begin : begin + _PIECE]
            weighted = self._scratch[: len(piece)]
            np.copyto(weighted, piece)
            weighted *= weight
            total[begin : begin + _PIECE] += weighted

    def _averaged(self, name: str, current: NDArray[np.float32]) -> NDArray[np.float32]:
        weights = self.weights[name]
        held = weights > 0
        if not held.any():
            return current
        average = current.astype(np.float64)
        np.divide(self.sums[name], weights, out=average, where=held)
        return average.astype(np.float32)

    def _check(self, update: Update) -> None:
        submodel, whole = update.submodel, self._whole
        if submodel.max_exit > whole.max_exit:
            raise ValueError(
                f"the update goes to exit {submodel.max_exit}, and the average only to exit "
                f"{whole.max_exit}"
            )
        if (submodel.architecture, submodel.schedule, submodel.regime) != (
            whole.architecture,
            whole.schedule,
            whole.regime,
        ):
            raise ValueError("the update is of another model or regime than the average")
        if {name: array.shape for name, array in update.arrays.items()} != trained_shapes(submodel):
            raise ValueError("the update holds other arrays than those that its sub-model trains")


def per_row_shape(spec: ArraySpec) -> Shape:
    """Return the shape of what is said per row of an array, or once of all of it."""
    num_rows = spec.shape[0] if spec.is_row_wise else 1
    return (num_rows, *[1] * (len(spec.shape) - 1))


def trained_rows(is_row_wise: bool, depth: int) -> slice:
    """Return the rows that a client of a depth trains: the meta token's, and one per block."""
    return slice(depth + 1) if is_row_wise else slice(None)


@lru_cache(maxsize=64)
def trained_shapes(submodel: Submodel) -> Mapping[str, Shape]:
    """Return the shapes of the arrays that travel; kept, because it takes long to list them."""
    return {spec.name: spec.shape for spec in submodel.trained_arrays()}

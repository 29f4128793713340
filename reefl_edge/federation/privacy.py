"""How is the average of a round made to say little about any one client?

Each client's movement is *clipped*: shortened to a length, all of its arrays taken as one vector.
The movements are summed, all clients alike; Gaussian noise goes onto the sum, and each array is
divided by the number of holders that was to be *expected*, because the number that came says
something of who did. What the released models then tell of one client, all of its examples
together, is bounded by *epsilon*, but for a probability *delta*.

That holds for a trusted server that takes every client independently with the same probability
(``draw``), and for nothing but the models: losses and lists of clients stay with the server, and
how deep a client goes is known. Who knows the seed of the noise can take it off again.

Source: DP-FedAvg with fixed denominators, McMahan et al. 2018, "Learning Differentially Private
Recurrent Language Models"; the accountant is Google's dp-accounting.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from reefl_edge.array_files.safetensors import Arrays
from reefl_edge.checkpoints.update import Update
from reefl_edge.extras import needs_extra
from reefl_edge.federation.average import Held, PerRow, RunningAverage, per_row_shape, trained_rows
from reefl_edge.federation.movement import movements, norm
from reefl_edge.submodel import Submodel

# Orders of the Renyi divergence that a bound is looked for at; from whole ones it comes quickly.
_ORDERS = (*range(2, 65), *range(72, 513, 8))


@dataclass(frozen=True, slots=True, kw_only=True)
class Privacy:
    """How much of a client may show.

    Attributes:
        clip_norm: How far a client may move the arrays.
        noise_multiplier: Standard deviation of the noise on the sum, in ``clip_norm``; 0 for none.
        sampling_rate: With which probability a client is taken in a round.
    """

    clip_norm: float
    noise_multiplier: float
    sampling_rate: float

    def __post_init__(self) -> None:
        if not 0 < self.clip_norm < np.inf:
            raise ValueError(f"the norm to clip to must be positive, got {self.clip_norm}")
        if not 0 <= self.noise_multiplier < np.inf:
            raise ValueError(f"the noise multiplier must not be negative: {self.noise_multiplier}")
        if not 0 < self.sampling_rate <= 1:
            raise ValueError(
                f"the sampling rate must be above 0 and at most 1, got {self.sampling_rate}"
            )


def clipped(update: Update, start: Arrays, clip_norm: float) -> Update:
    """Return an update that moves its arrays by no more than a length, in the same direction."""
    moved = dict(movements(update.arrays, start))
    share = _share(norm(moved.values()), clip_norm)
    if share == 1:
        return update
    arrays = {name: start[name] + np.float32(share) * array for name, array in moved.items()}
    return replace(update, arrays=arrays)


class PrivateAverage:
    """The average of a round with noise, in the place of a ``RunningAverage``.

    Args:
        submodel: The whole sub-model.
        start: The trained arrays that the round began with.
        privacy: How much of a client may show.
        num_clients: How many clients of each depth there are to be drawn from, by exit.
        generator: Of the noise.
    """

    def __init__(
        self,
        submodel: Submodel,
        *,
        start: Arrays,
        privacy: Privacy,
        num_clients: Mapping[int, int],
        generator: np.random.Generator,
    ) -> None:
        self._start = start
        self._privacy = privacy
        self._generator = generator
        self._moved = RunningAverage(submodel)
        self._holders = expected_holders(submodel, num_clients, privacy.sampling_rate)

    def add(self, update: Update, weight: float) -> None:  # noqa: ARG002
        """Count an update as much as every other one, whatever its weight would be.

        Raises:
            ValueError: It does not fit.
        """
        moved = dict(movements(update.arrays, self._start))
        share = _share(norm(moved.values()), self._privacy.clip_norm)
        self._moved.add(replace(update, arrays=moved), share)

    def average(self, current: Arrays) -> Arrays:
        """Return the average with noise, other noise at every call.

        Arrays and rows that no client is deep enough for stay. Those that nobody happened to train
        do not: that they stay would tell who took part.

        Args:
            current: The trained arrays that the round began with.
        """
        deviation = self._privacy.noise_multiplier * self._privacy.clip_norm
        return {  # in an order of its own: so the same noise meets the same array
            name: self._noised(name, current[name], deviation) if holders.any() else current[name]
            for name, holders in self._holders.items()
        }

    def held(self) -> Held:
        """Return which arrays and rows there are clients for."""
        return {name: holders > 0 for name, holders in self._holders.items()}

    def _noised(
        self, name: str, current: NDArray[np.float32], deviation: float
    ) -> NDArray[np.float32]:
        total = self._moved.sums[name] + self._generator.normal(0.0, deviation, current.shape)
        holders = self._holders[name]
        moved = np.zeros(current.shape)
        np.divide(total, holders, out=moved, where=holders > 0)
        return (current + moved).astype(np.float32)


def expected_holders(
    submodel: Submodel, num_clients: Mapping[int, int], sampling_rate: float
) -> PerRow:
    """Return how many of the clients of a round will have each array, or row, on average.

    Args:
        submodel: The whole sub-model.
        num_clients: How many clients of each depth there are, by exit.
        sampling_rate: With which probability each is taken.
    """
    holders = {spec.name: np.zeros(per_row_shape(spec)) for spec in submodel.trained_arrays()}
    for max_exit, count in num_clients.items():
        cut = submodel.cut(max_exit)
        for spec in cut.trained_arrays():
            holders[spec.name][trained_rows(spec.is_row_wise, cut.depth)] += sampling_rate * count
    return holders


def draw(num_clients: int, sampling_rate: float, generator: np.random.Generator) -> list[int]:
    """Take every client with the same probability, independently: some round takes nobody.

    A fixed number of clients would be simpler, but much less is known to be hidden by it.
    """
    return np.flatnonzero(generator.random(num_clients) < sampling_rate).tolist()


def epsilon(privacy: Privacy, *, num_rounds: int, delta: float) -> float:
    """Return what the models of so many rounds tell of one client, added or left out, at most.

    Raises:
        ValueError: ``delta`` is not a probability between 0 and 1, or there is no round.
        MissingToolchainError: dp-accounting is not installed.
    """
    if not 0 < delta < 1:
        raise ValueError(f"delta must be between 0 and 1, got {delta}")
    if num_rounds < 1:
        raise ValueError(f"epsilon is of at least one round, got {num_rounds}")
    if privacy.noise_multiplier == 0:
        return np.inf
    with needs_extra("the accountant of privacy", "dp-accounting", "federated"):
        from dp_accounting import GaussianDpEvent, PoissonSampledDpEvent
        from dp_accounting.rdp import RdpAccountant
    accountant = RdpAccountant(orders=_ORDERS)
    round_event = PoissonSampledDpEvent(
        privacy.sampling_rate, GaussianDpEvent(privacy.noise_multiplier)
    )
    accountant.compose(round_event, num_rounds)
    return float(accountant.get_epsilon(delta))


def _share(length: float, clip_norm: float) -> float:
    """Return how much of a movement is left once it is clipped."""
    return 1.0 if length <= clip_norm else clip_norm / length

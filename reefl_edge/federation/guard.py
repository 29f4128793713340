"""Which updates are refused at the door, before they are averaged?

One that is not what was asked for: of another model, regime, depth, round or base, with other
arrays, with NaN or an infinity, of more examples than the client can have, or the second of a
client in a round. And one that moved its arrays far more than those of the same depth did in the
rounds before. What passes may still be wrong: a guard keeps accidents and crude attacks out, not a
client that lies within plausible numbers.

Source: of the bound, the median and its absolute deviation as robust location and scale (Huber).
"""

import sys
from collections import defaultdict, deque
from dataclasses import dataclass

import numpy as np

from reefl_edge.array_files.safetensors import Arrays, not_finite
from reefl_edge.checkpoints.metadata import differences
from reefl_edge.checkpoints.update import Update
from reefl_edge.errors import RefusedUpdateError
from reefl_edge.federation.average import trained_shapes
from reefl_edge.federation.movement import movements, norm
from reefl_edge.submodel import Submodel

# No update may move its arrays further, whatever others did. A round of DeiT's local training moves
# them by 1 to 20.
MAX_NORM = 100.0
# Norms of a depth before they say what is usual; and how many are kept.
_ENOUGH_NORMS = 8
_KEPT_NORMS = 256
# Deviations above the median that are still usual; and what a deviation is at least, in medians:
# clients differ in their number of steps even where those before did not.
_DEVIATIONS = 6.0
_LEAST_DEVIATION = 0.5
# Of a normal distribution, the standard deviation is so many median absolute deviations.
_NORMAL = 1.4826


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What a client's update must be.

    Attributes:
        client: Who was asked.
        submodel: What it was to train, at the depth that it is assigned.
        base_sha256: Identity of the plain arrays of the round, cut at that depth.
        server_round: The round.
        start: The trained arrays that it was sent.
        max_examples: As many as it can have.
    """

    client: str
    submodel: Submodel
    base_sha256: str
    server_round: int
    start: Arrays
    max_examples: int


class Guard:
    """Holds updates to what was expected, and their norms to those of earlier rounds.

    Args:
        max_norm: How far an update may move its arrays at most, from the first round on.
        bounds_norms: Whether norms are bounded at all. Not where updates are clipped and noise is
            added: a bound that depends on other clients' data would undo what the noise promises.
    """

    def __init__(self, *, max_norm: float = MAX_NORM, bounds_norms: bool = True) -> None:
        if not max_norm > 0:
            raise ValueError(f"the largest norm of an update must be positive, got {max_norm}")
        self._max_norm = max_norm
        self._bounds_norms = bounds_norms
        self._earlier: dict[int, deque[float]] = defaultdict(lambda: deque(maxlen=_KEPT_NORMS))
        self._accepted: dict[str, tuple[int, float]] = {}

    def begin_round(self) -> None:
        """Begin a round, or a round again: norms accepted until now are those of earlier rounds.

        Within a round nothing changes, so that it does not matter whose update comes first.
        """
        for max_exit, accepted in self._accepted.values():
            self._earlier[max_exit].append(accepted)
        self._accepted.clear()

    def check(self, update: Update, expected: Expected) -> None:
        """Accept an update, or refuse it.

        Raises:
            RefusedUpdateError: It is not to be averaged; the line says whose it is and why.
        """
        client = expected.client
        if client in self._accepted:
            raise RefusedUpdateError(
                f"{client} already sent its update of round {expected.server_round}; "
                "the second is refused"
            )
        problem = (
            _problem_of_model(update.submodel, expected.submodel)
            or _problem_of_provenance(update, expected)
            or _problem_of_arrays(update.arrays, expected.submodel)
        )
        if problem is not None:
            raise RefusedUpdateError(f"{client}: {problem}")
        moved = norm(each for _, each in movements(update.arrays, expected.start))
        bound = self.bound(expected.submodel.max_exit)
        if not moved <= bound:
            raise RefusedUpdateError(
                f"{client}: the update moves its arrays by {moved:.4g}, and {bound:.4g} is the "
                "most that is usual at its depth"
            )
        self._accepted[client] = (expected.submodel.max_exit, float(np.float32(moved)))

    def bound(self, max_exit: int) -> float:
        """Return how far an update of a depth may move its arrays in this round."""
        if not self._bounds_norms:
            return sys.float_info.max  # what is not finite stays refused
        earlier = np.array(self._earlier[max_exit])
        if len(earlier) < _ENOUGH_NORMS or not (median := float(np.median(earlier))) > 0:
            return self._max_norm
        deviation = _NORMAL * float(np.median(np.abs(earlier - median)))
        usual = median + _DEVIATIONS * max(deviation, _LEAST_DEVIATION * median)
        return min(usual, self._max_norm)

    def state(self) -> Arrays:
        """End a round, and return what a server that goes on must know: norms by depth."""
        self.begin_round()
        return {
            str(max_exit): np.array(norms, np.float32) for max_exit, norms in self._earlier.items()
        }

    def load(self, state: Arrays) -> None:
        """Go on from a state that ``state`` gave."""
        self._accepted.clear()
        self._earlier.clear()
        for max_exit, norms in state.items():
            self._earlier[int(max_exit)].extend(norms.tolist())


def _problem_of_model(submodel: Submodel, expected: Submodel) -> str | None:
    if submodel == expected:
        return None
    if submodel.regime != expected.regime:
        return f"the update is of regime {submodel.regime!r}, and asked for was {expected.regime!r}"
    if (submodel.architecture, submodel.schedule) != (expected.architecture, expected.schedule):
        return "the update is of another model than was asked for"
    how = "deeper" if submodel.max_exit > expected.max_exit else "shallower"
    return (
        f"the update goes to exit {submodel.max_exit}, {how} than exit {expected.max_exit}, "
        "which was assigned"
    )


def _problem_of_provenance(update: Update, expected: Expected) -> str | None:
    provenance = update.provenance
    if provenance.server_round != expected.server_round:
        return (
            f"the update is of round {provenance.server_round}, and this is round "
            f"{expected.server_round}"
        )
    if provenance.base_sha256 != expected.base_sha256:
        return (
            f"the update was trained from weights {provenance.base_sha256[:12]}, and those of the "
            f"round are {expected.base_sha256[:12]}"
        )
    if not 1 <= provenance.num_examples <= expected.max_examples:
        return (
            f"the update is of {provenance.num_examples} examples, and from 1 to "
            f"{expected.max_examples} are plausible"
        )
    return None


def _problem_of_arrays(arrays: Arrays, submodel: Submodel) -> str | None:
    if problems := differences(arrays, trained_shapes(submodel)):
        rest = f", and {len(problems) - 1} more" if len(problems) > 1 else ""
        return f"the update does not fit its sub-model: {problems[0]}{rest}"
    if (name := not_finite(arrays)) is not None:
        return f"the update holds NaN or infinity, in {name}"
    return None

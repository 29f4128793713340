"""How does an error of the server's app reach whoever started the run?

A SuperLink keeps one line of a run that failed: Flower's own words, then those of the exception. So
an error that a user can act on goes there with its class, and comes back as itself.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from reefl_edge import errors
from reefl_edge.errors import FederationError, ReeflEdgeError

_TOLD = re.compile(r"reefl-edge (\w+): (.+)", re.DOTALL)


class ToldError(Exception):
    """An expected error, in the words that Flower passes on."""


@contextmanager
def told() -> Iterator[None]:
    """Raise an expected error of the block so that ``failure_of`` knows it again."""
    try:
        yield
    except ReeflEdgeError as error:
        raise ToldError(f"reefl-edge {type(error).__name__}: {error}") from error


def is_told(reason: str) -> bool:
    """Tell whether the error that ended a run is one that a user can act on."""
    return _TOLD.search(reason) is not None


def failure_of(reason: str) -> ReeflEdgeError:
    """Return the error that ended a run.

    >>> failure_of("Simulation failed with exception: reefl-edge InputError: a.npz: no such file")
    InputError('a.npz: no such file')

    Args:
        reason: What the SuperLink has to say of it.
    """
    found = _TOLD.search(reason)
    kind = getattr(errors, found[1], None) if found else None
    if found and isinstance(kind, type) and issubclass(kind, ReeflEdgeError):
        return kind(found[2])
    return FederationError(f"the run failed: {reason}")

"""Which errors can a user act on, and what does the shell see of them?

    ReeflEdgeError
    |- InputError             3  a file is missing, damaged or foreign
    |  `- RefusedUpdateError  3  a client's update is not to be averaged
    |- DeviceError            4  a device is absent, offline or refuses
    |- FederationError        4  a federation's server or node is absent or refuses
    |- MissingToolchainError  5  a toolchain or an extra is not installed
    |- ParityError            6  an artifact does not compute what the network computes
    |- DivergenceError        6  training left the finite numbers
    |- BudgetError            6  no exit meets the budget
    |  `- PromiseError        6  no early stop is certified to keep a promise
    `- MeasurementError       6  a measurement is not valid

A wrong argument of a Python function is a ``ValueError``, not one of these.
"""

from typing import ClassVar


class ReeflEdgeError(Exception):
    """An expected failure, reported to the user in one line."""

    exit_code: ClassVar[int] = 1

    def __str__(self) -> str:
        r"""Return the message in one line; a name or another's words in it may have had more.

        >>> print(InputError("a\nb.png: no image"))
        a\nb.png: no image
        """
        return "".join(
            character.encode("unicode_escape").decode() if _breaks(character) else character
            for character in super().__str__().strip()
        )


def _breaks(character: str) -> bool:
    return character.splitlines() == [""]


class InputError(ReeflEdgeError):
    """A file is missing, damaged or not of the expected kind."""

    exit_code = 3


class RefusedUpdateError(InputError):
    """A client's update is not what was asked of it, and not to be averaged."""


class DeviceError(ReeflEdgeError):
    """A device is absent, offline or refuses what was asked."""

    exit_code = 4


class FederationError(ReeflEdgeError):
    """A federation's server or node is absent, or refuses what was asked."""

    exit_code = 4


class MissingToolchainError(ReeflEdgeError):
    """A toolchain or an extra is not installed."""

    exit_code = 5

    @classmethod
    def for_extra(cls, purpose: str, package: str, extra: str) -> "MissingToolchainError":
        """Say which extra brings the package that ``purpose`` needs."""
        return cls(f"{purpose} needs {package}; install 'reefl-edge[{extra}]'")


class ParityError(ReeflEdgeError):
    """An exported artifact does not compute what the network computes."""

    exit_code = 6


class DivergenceError(ReeflEdgeError):
    """Training left the finite numbers."""

    exit_code = 6


class BudgetError(ReeflEdgeError):
    """No exit meets the budget."""

    exit_code = 6


class PromiseError(BudgetError):
    """No early stop is certified to keep a promise."""


class MeasurementError(ReeflEdgeError):
    """A measurement is not valid."""

    exit_code = 6

"""What is the state of a random generator, so that it can be written down and put back?"""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

# The one behind ``numpy.random.default_rng``.
_NAME = "PCG64"
_LIMITS = {"state": 2**128, "inc": 2**128, "has_uint32": 2, "uinteger": 2**32}


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratorState:
    """All that the next numbers of a generator depend on, under numpy's own names.

    Attributes:
        state: Where the generator stands, 128 bits.
        inc: Which of its sequences it follows, 128 bits.
        has_uint32: 1 if half of the last 64 bits is still to be given out.
        uinteger: That half, 32 bits.

    Raises:
        ValueError: A number is out of range.
    """

    state: int
    inc: int
    has_uint32: int
    uinteger: int

    def __post_init__(self) -> None:
        for name, limit in _LIMITS.items():
            value = getattr(self, name)
            if not 0 <= value < limit:
                raise ValueError(f"a generator's {name} cannot be {value}")

    @classmethod
    def of(cls, generator: np.random.Generator) -> Self:
        """Return the state of a generator that ``default_rng`` made, or one spawned from it."""
        said: dict[str, Any] = dict(generator.bit_generator.state)
        if said["bit_generator"] != _NAME:
            raise ValueError(f"a generator must be {_NAME}, got {said['bit_generator']}")
        return cls(
            state=said["state"]["state"],
            inc=said["state"]["inc"],
            has_uint32=said["has_uint32"],
            uinteger=said["uinteger"],
        )

    def put_into(self, generator: np.random.Generator) -> None:
        """Let a generator go on from here."""
        generator.bit_generator.state = {
            "bit_generator": _NAME,
            "state": {"state": self.state, "inc": self.inc},
            "has_uint32": self.has_uint32,
            "uinteger": self.uinteger,
        }

"""How large is a local step at a given federated round, and what does distillation count in it?

Both are constant within a round: what a client does between two meetings with the server knows no
change of its own.

Source: royson/reefl 61b18c1, the same for every dataset and regime of the paper; the ramp of the
weight is DepthFL's.
"""

import math
from ctypes import c_float

INITIAL_LEARNING_RATE = 0.05
FINAL_LEARNING_RATE = 0.001
NUM_ROUNDS = 1000
# The round from which distillation counts in full.
FULL_WEIGHT_ROUND = 300


def learning_rate(server_round: int) -> float:
    """Return the rate of every local step of a round: half a cosine wave, with a floor.

    >>> [round(learning_rate(server_round), 4) for server_round in (1, 250, 500, 1000)]
    [0.05, 0.0427, 0.025, 0.001]

    Raises:
        ValueError: ``server_round`` is less than 1.
    """
    check_round(server_round)
    progress = min(server_round, NUM_ROUNDS) / NUM_ROUNDS
    wave = 0.5 * INITIAL_LEARNING_RATE * (1 + math.cos(math.pi * progress))
    return max(FINAL_LEARNING_RATE, wave)


def distill_weight(server_round: int) -> float:
    """Return what distillation counts at a round, beside the exits' own losses.

    >>> [round(distill_weight(server_round), 4) for server_round in (1, 100, 200, 300)]
    [0.007, 0.1084, 0.5738, 1.0]

    Raises:
        ValueError: ``server_round`` is less than 1.
    """
    check_round(server_round)
    missing = 1 - min(server_round, FULL_WEIGHT_ROUND) / FULL_WEIGHT_ROUND
    return math.exp(-5 * missing**2)


def check_rate(rate: float) -> None:
    """Refuse a rate that would change nothing, or everything to infinity.

    Raises:
        ValueError: ``rate`` is not positive, or as float32 it is zero or infinite.
    """
    if not rate > 0:
        raise ValueError(f"the learning rate must be positive, got {rate}")
    if not 0 < c_float(rate).value < math.inf:
        raise ValueError(f"the learning rate {rate:g} is zero or infinite as float32")


def check_round(server_round: int) -> None:
    """Refuse a round that does not exist: they are counted from 1."""
    if server_round < 1:
        raise ValueError(f"rounds are counted from 1, got {server_round}")

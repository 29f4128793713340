"""What does chance depend on in a federation?

On the run's seed, the round, and whom it is for: never on the order in which things happen, or on
numbers that an engine gives out.
"""

import hashlib

import numpy as np


def round_generator(seed: int, server_round: int, attempt: int) -> np.random.Generator:
    """Return what the server draws with in an attempt at a round."""
    return np.random.default_rng([seed, server_round, attempt])


def hidden_generator(secret: int | None, server_round: int, attempt: int) -> np.random.Generator:
    """Return what the server draws with where nobody else may know what comes of it.

    Args:
        secret: What only the server knows, from which the same comes again; None for chance.
        server_round: The round.
        attempt: How often it was begun.
    """
    return np.random.default_rng(None if secret is None else [secret, server_round, attempt, 1])


def client_seed(seed: int, server_round: int, client: str) -> int:
    """Return the seed of a client's local training in a round."""
    digest = hashlib.sha256(f"{seed} {server_round} {client}".encode()).digest()
    return int.from_bytes(digest[:4], "little")

"""Which examples does each federated client hold?

Source: royson/reefl 61b18c1, its label-skew partition (latent Dirichlet allocation over
labels): every client gets the same number of examples, drawn class by class without replacement.
"""

import numpy as np
from numpy.typing import NDArray


def dirichlet_partition(
    labels: NDArray[np.int64], *, num_clients: int, alpha: float, seed: int
) -> list[NDArray[np.int64]]:
    """Split examples among clients with label skew.

    Each client draws a vector of class probabilities from a symmetric Dirichlet distribution and
    then its examples, one by one, from the classes that are not used up yet.

    Args:
        labels: Class of every example, (N,).
        num_clients: How many clients share them; each gets ``N // num_clients``.
        alpha: Concentration: small is skewed, large is near to uniform.
        seed: Of the random generator.

    Returns:
        The indices of each client's examples.

    Raises:
        ValueError: There are fewer examples than clients, or ``alpha`` is not positive.
    """
    if not 1 <= num_clients <= len(labels):
        raise ValueError(f"cannot split {len(labels)} examples among {num_clients} clients")
    if alpha <= 0:
        raise ValueError(f"alpha must be positive, got {alpha}")
    generator = np.random.default_rng(seed)
    classes = np.unique(labels)
    pools = [list(generator.permutation(np.flatnonzero(labels == name))) for name in classes]
    parts = []
    for _ in range(num_clients):
        preference = generator.dirichlet(np.full(len(classes), alpha))
        parts.append(_draw(pools, preference, len(labels) // num_clients, generator))
    return parts


def _draw(
    pools: list[list[np.int64]],
    preference: NDArray[np.float64],
    count: int,
    generator: np.random.Generator,
) -> NDArray[np.int64]:
    """Take ``count`` examples out of the pools of classes, by preference among those left."""
    drawn = []
    for _ in range(count):
        left = np.array([len(pool) > 0 for pool in pools])
        weights = np.where(left, preference, 0.0)
        if weights.sum() == 0:  # only classes this client never wanted are left
            weights = left.astype(float)
        drawn.append(pools[generator.choice(len(pools), p=weights / weights.sum())].pop())
    return np.array(drawn, np.int64)

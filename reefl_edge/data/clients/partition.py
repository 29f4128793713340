"""Which examples does each federated client hold?

With *label skew* every client gets the same number of examples, drawn class by class without
replacement by a preference of its own. A *natural* client is a group: a writer, a speaker.

Letters: N examples, K clients, C classes.
Source: royson/reefl 61b18c1; the skew is latent Dirichlet allocation over labels.
"""

import numpy as np
from numpy.typing import NDArray

from reefl_edge.data.dataset import Groups, Indices, Labels, check_labels

# Every client must see the same partition, whatever else its run draws at random.
PARTITION_SEED = 1
# Far beyond what tells a distribution from the uniform one; at 1e308 the draws are all zero.
_MAX_ALPHA = 1e9

Preferences = NDArray[np.float64]


def class_preferences(
    *, num_clients: int, num_classes: int, alpha: float, seed: int = PARTITION_SEED
) -> Preferences:
    """Draw each client's class probabilities from a symmetric Dirichlet distribution.

    Args:
        num_clients: How many clients there are.
        num_classes: How many classes there are.
        alpha: Concentration: small is skewed, large is near to uniform.
        seed: Of the random generator.

    Returns:
        Probabilities, (K, C). The same ones serve a client's training and test examples.

    Raises:
        ValueError: There is no client or no class, or ``alpha`` is out of range.
    """
    if num_clients < 1 or num_classes < 1:
        raise ValueError(f"cannot split {num_classes} classes among {num_clients} clients")
    check_alpha(alpha)
    return np.random.default_rng(seed).dirichlet(np.full(num_classes, alpha), size=num_clients)


def check_alpha(alpha: float) -> None:
    """Refuse a concentration that is not positive, or so large that nothing is left to draw."""
    if not 0 < alpha <= _MAX_ALPHA:
        raise ValueError(f"alpha must be positive and at most {_MAX_ALPHA:g}, got {alpha:g}")


def check_enough(labels: Labels, *, num_clients: int) -> None:
    """Refuse more clients than examples (N,), before anything is drawn for them."""
    if not 1 <= num_clients <= len(labels):
        raise ValueError(f"cannot split {len(labels)} examples among {num_clients} clients")


def skewed_partition(
    labels: Labels, preferences: Preferences, *, seed: int = PARTITION_SEED
) -> list[Indices]:
    """Split examples among clients by their preferences for classes.

    Each client in turn draws its examples, one by one, from the classes that are not used up yet;
    the last clients get what is left over.

    Args:
        labels: Class of every example, (N,).
        preferences: Each client's class probabilities, (K, C).
        seed: Of the random generator.

    Returns:
        The indices of each client's ``N // K`` examples.

    Raises:
        ValueError: There are fewer examples than clients, or a label is outside the classes.
    """
    num_clients, num_classes = preferences.shape
    check_enough(labels, num_clients=num_clients)
    check_labels(labels, num_classes=num_classes)
    generator = np.random.default_rng(seed)
    pools = [
        list(generator.permutation(np.flatnonzero(labels == label))) for label in range(num_classes)
    ]
    count = len(labels) // num_clients
    return [_draw(pools, preference, count, generator) for preference in preferences]


def dirichlet_partition(
    labels: Labels, *, num_clients: int, alpha: float, seed: int
) -> list[Indices]:
    """Split examples (N,) among clients with label skew, over the classes that occur.

    Raises:
        ValueError: There are fewer examples than clients, or ``alpha`` is not positive.
    """
    classes, ranks = np.unique(labels, return_inverse=True)
    check_enough(labels, num_clients=num_clients)
    preferences = class_preferences(
        num_clients=num_clients, num_classes=len(classes), alpha=alpha, seed=seed
    )
    return skewed_partition(ranks.astype(np.int64), preferences, seed=seed)


def natural_partition(groups: Groups, *, num_clients: int | None = None) -> list[Indices]:
    """Give every group to a client of its own, in the order of their numbers or names.

    Args:
        groups: Who made every example, (N,).
        num_clients: Keep only so many groups, those with the most examples; None for all.

    Raises:
        ValueError: There are fewer groups than clients.
    """
    _, ranks, counts = np.unique(groups, return_inverse=True, return_counts=True)
    kept = len(counts) if num_clients is None else num_clients
    if not 0 <= kept <= len(counts):
        raise ValueError(f"there are {len(counts)} writers or speakers, not {kept}")
    # A stable sort by size keeps the order of the names among equals.
    largest = np.sort(np.argsort(-counts, kind="stable")[:kept])
    by_group = np.argsort(ranks, kind="stable").astype(np.int64)
    starts = np.cumsum(counts) - counts
    return [by_group[starts[rank] : starts[rank] + counts[rank]] for rank in largest]


def split_by_class(
    labels: Labels, *, test_share: float = 0.2, seed: int = PARTITION_SEED
) -> tuple[Indices, Indices]:
    """Set a share of every class aside for testing; of one example alone, that one.

    Args:
        labels: Class of every example of one client, (N,).
        test_share: The share, between 0 and 1; at least one example of each class.
        seed: Of the random generator.

    Returns:
        The indices for training, and those for testing.

    Raises:
        ValueError: ``test_share`` is out of range, or nothing is left for training.
    """
    check_share(test_share)
    generator = np.random.default_rng(seed)
    train, test = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for label in np.unique(labels):
        members = generator.permutation(np.flatnonzero(labels == label))
        num_test = max(1, round(test_share * len(members)))
        test.append(members[:num_test])
        train.append(members[num_test:])
    if not sum(map(len, train)):
        raise ValueError(
            f"{len(labels)} examples leave none for training with {test_share} of each class apart"
        )
    return np.sort(np.concatenate(train)), np.sort(np.concatenate(test))


def check_share(test_share: float) -> None:
    """Refuse a share for testing that leaves nothing for it, or nothing for training."""
    if not 0 < test_share < 1:
        raise ValueError(f"the test share must be between 0 and 1, got {test_share}")


def client_part(parts: list[Indices], client_index: int) -> Indices:
    """Return the examples of one client, counted from 0.

    Raises:
        ValueError: There is no such client, or it holds nothing.
    """
    if not 0 <= client_index < len(parts):
        raise ValueError(
            f"there is no client {client_index}; the {len(parts)} clients are counted from 0"
        )
    if not len(parts[client_index]):
        raise ValueError(f"client {client_index} holds no examples")
    return parts[client_index]


def _draw(
    pools: list[list[np.int64]],
    preference: Preferences,
    count: int,
    generator: np.random.Generator,
) -> Indices:
    """Take ``count`` examples out of the pools of classes, by preference among those left."""
    drawn = []
    for _ in range(count):
        left = np.array([len(pool) > 0 for pool in pools])
        weights = np.where(left, preference, 0.0)
        if weights.sum() == 0:  # only classes this client never wanted are left
            weights = left.astype(float)
        drawn.append(pools[generator.choice(len(pools), p=weights / weights.sum())].pop())
    return np.array(drawn, np.int64)

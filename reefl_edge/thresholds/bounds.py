"""How surely does a loss stay below a limit, seen on N examples?

A *p-value* here is that of "the mean loss is above the limit" on new examples of the same kind: the
probability, at most, of seeing losses as low as these if it were. Two bounds give one, each valid
for every N, not only for large ones:

- *binomial*, of losses that are 0 or 1: the exact tail, as Clopper and Pearson 1934 turned into an
  interval;
- *betting*, of losses anywhere in [0, 1]: a gambler bets on every example that its loss lies below
  the limit, from what the ones before taught. If the mean is above it, the bets are unfair to the
  gambler, whose capital gets K times as large with a probability of at most 1 / K. Source:
  Waudby-Smith and Ramdas 2024, "Estimating means of bounded random variables by betting"; the bet
  is their predictable plug-in, as used by Angelopoulos et al. 2021, "Learn then test".

Letters: T candidates, N examples.
"""

from math import inf, log, log1p

import numpy as np
from numpy.typing import NDArray

Losses = NDArray[np.float64]
PValues = NDArray[np.float64]

# How much of its capital a bet may lose; all of it would end the game.
_MOST_AT_STAKE = 0.99


def binomial_p_values(num_losses: NDArray[np.int64], num_examples: int, limit: float) -> PValues:
    """Return how likely at most so many losses are, if one happens with probability ``limit``.

    Args:
        num_losses: Losses seen, (T,).
        num_examples: Examples they were seen on, N.
        limit: The limit, in (0, 1).

    >>> binomial_p_values(np.array([0, 1, 2]), 2, 0.5).tolist()
    [0.25, 0.75, 1.0]
    """
    most = int(num_losses.max(initial=0))
    counts = np.arange(1, most + 1)
    # Each term from the one before, as logarithms: the first may be too small for a float.
    steps = np.log((num_examples - counts + 1) / counts) + log(limit) - log1p(-limit)
    logarithms = num_examples * log1p(-limit) + np.concatenate([[0.0], np.cumsum(steps)])
    tails = np.minimum(np.cumsum(np.exp(logarithms)), 1.0)
    tails[counts[counts >= num_examples]] = 1.0
    p_values: PValues = tails[num_losses]
    return p_values


def betting_p_values(losses: Losses, limit: float, *, error: float) -> PValues:
    """Return how likely losses as low as these are, if their mean is above a limit.

    Args:
        losses: In [0, 1], (T, N): a row per candidate, its examples in an order that says nothing
            about them.
        limit: The limit, in (0, 1).
        error: At which p-value a candidate will be taken; the bets are made for it.
    """
    num_examples = losses.shape[1]
    counts = np.arange(1, num_examples + 1)
    # What was known before each example: mean and variance, begun as if one had been 1/2 +- 1/2.
    means = (0.5 + np.cumsum(losses, axis=1)) / (counts + 1)
    variances = (0.25 + np.cumsum((losses - means) ** 2, axis=1)) / (counts + 1)
    variances = np.concatenate([np.full((len(losses), 1), 0.25), variances[:, :-1]], axis=1)
    bets = np.sqrt(2 * log(1 / error) / (num_examples * variances))
    bets = np.minimum(bets, _MOST_AT_STAKE / (1 - limit))
    capital = np.cumsum(np.log1p(bets * (limit - losses)), axis=1).max(axis=1, initial=-inf)
    p_values: PValues = np.minimum(np.exp(-capital), 1.0)
    return p_values

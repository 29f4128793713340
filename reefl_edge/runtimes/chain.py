"""How are all segments run one after the other, whatever each exit says?

What parity, profiling, evaluation and benchmarks run; only ``AdaptiveSession`` stops on the way.
"""

import numpy as np
from numpy.typing import NDArray

from reefl_edge.runtimes.base import Runtime, Tensors

Logits = NDArray[np.float32]


def run_chain(runtime: Runtime, images: NDArray[np.uint8], *, num_exits: int) -> list[Logits]:
    """Run images through every segment up to an exit.

    Args:
        runtime: What runs them.
        images: 8-bit RGB of the model's size, (B, H, W, 3).
        num_exits: How many segments to run.

    Returns:
        The logits (B, C) of every exit, shallowest first.
    """
    logits: list[Logits] = []
    carried: Tensors = (images,)
    for exit_index in range(num_exits):
        *rest, exit_logits = runtime.run(exit_index, carried)
        carried = tuple(rest)
        logits.append(exit_logits)
    return logits

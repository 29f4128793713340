"""What does a network predict for a whole dataset, and how often is each exit right?

Letters: E exits, N examples, C classes.
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from reefl_edge.data.base import Dataset, Labels, num_examples
from reefl_edge.finetune.batches import network_input, num_steps
from reefl_edge.models.reefl import ReeFL

Logits = NDArray[np.float32]


@torch.inference_mode()
def exit_logits(
    network: ReeFL,
    dataset: Dataset,
    *,
    batch_size: int = 256,
    on_step: Callable[[int, int], None] | None = None,
) -> Logits:
    """Predict every example at every exit.

    Args:
        network: The network.
        dataset: Images of the network's size.
        batch_size: Examples per batch.
        on_step: Called after every batch with the batches done and those to do.

    Returns:
        Logits in the dataset's order, (E, N, C).

    Raises:
        ValueError: ``batch_size`` is less than 1, or the images are not of the network's size.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    architecture = network.submodel.architecture
    count = num_examples(dataset)
    logits = np.empty((network.submodel.num_exits, count, architecture.num_classes), np.float32)
    for step, start in enumerate(range(0, count, batch_size), start=1):
        indices = np.arange(start, min(start + batch_size, count))
        images = network_input(dataset.images(indices), architecture)
        logits[:, indices] = network(images).numpy()
        if on_step is not None:
            on_step(step, num_steps(count, epochs=1, batch_size=batch_size))
    return logits


def accuracy(logits: Logits, labels: Labels) -> NDArray[np.float64]:
    """Return the share of examples each exit gets right, (E,), from logits (E, N, C).

    Raises:
        ValueError: There are no examples, or not as many labels as examples.
    """
    if logits.shape[1] != len(labels) or len(labels) == 0:
        raise ValueError(f"need a label for every example, got {len(labels)} for {logits.shape[1]}")
    correct: NDArray[np.bool_] = logits.argmax(-1) == labels
    shares: NDArray[np.float64] = correct.mean(axis=1)
    return shares

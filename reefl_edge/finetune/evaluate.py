"""What does a model predict for a whole dataset, and how often is each exit right?

Letters: E exits, N examples, C classes.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from reefl_edge.checkpoints.checkpoint import Checkpoint
from reefl_edge.data.dataset import Dataset, Labels, num_examples
from reefl_edge.extras import needs_extra
from reefl_edge.runtimes.base import Runtime
from reefl_edge.runtimes.chain import run_chain
from reefl_edge.submodel import Submodel

Logits = NDArray[np.float32]


def exit_logits(
    runtime: Runtime,
    submodel: Submodel,
    dataset: Dataset,
    *,
    batch_size: int = 256,
    on_step: Callable[[int, int], None] | None = None,
) -> Logits:
    """Predict every example at every exit.

    Args:
        runtime: What runs the segments.
        submodel: What they are the segments of.
        dataset: Images of the model's size.
        batch_size: Examples per batch.
        on_step: Called after every batch with the batches done and those to do.

    Returns:
        Logits in the dataset's order, (E, N, C).

    Raises:
        ValueError: ``batch_size`` is less than 1.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    count, num_exits = num_examples(dataset), submodel.num_exits
    logits = np.empty((num_exits, count, submodel.architecture.num_classes), np.float32)
    starts = range(0, count, batch_size)
    for step, start in enumerate(starts, start=1):
        indices = np.arange(start, min(start + batch_size, count))
        logits[:, indices] = run_chain(runtime, dataset.images(indices), num_exits=num_exits)
        if on_step is not None:
            on_step(step, len(starts))
    return logits


def checkpoint_logits(checkpoint: Checkpoint, dataset: Dataset) -> Logits:
    """Predict every example at every exit with PyTorch, (E, N, C), on the threads it has.

    Raises:
        MissingToolchainError: PyTorch is not installed.
    """
    with needs_extra("evaluating a checkpoint", "torch", "train"):
        import torch

        from reefl_edge.models.arrays import network_from
        from reefl_edge.runtimes.eager import EagerRuntime
    network = network_from(checkpoint.submodel, checkpoint.arrays)
    runtime = EagerRuntime(network, threads=torch.get_num_threads())
    return exit_logits(runtime, checkpoint.submodel, dataset)


def checkpoint_accuracy(checkpoint: Checkpoint, dataset: Dataset) -> NDArray[np.float64]:
    """Return the share of a dataset that each exit gets right, (E,), with PyTorch.

    Raises:
        MissingToolchainError: PyTorch is not installed.
        ValueError: The dataset is empty.
    """
    return accuracy(checkpoint_logits(checkpoint, dataset), dataset.labels)


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

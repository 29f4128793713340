"""How good is the server's model at every exit, on examples that no client has?

All test examples in one pool, one model for all, as in the paper.
"""

from collections.abc import Callable

import numpy as np

from reefl_edge.checkpoints.checkpoint import Checkpoint
from reefl_edge.data.dataset import Dataset, num_examples
from reefl_edge.extras import needs_extra
from reefl_edge.federation.history import Evaluation

Evaluate = Callable[[Checkpoint], Evaluation]

_BATCH_SIZE = 256


def evaluate(checkpoint: Checkpoint, dataset: Dataset, *, torch_device: str = "cpu") -> Evaluation:
    """Evaluate a model with PyTorch.

    Args:
        checkpoint: The model, adapters unfolded.
        dataset: Images of the model's size.
        torch_device: Where to compute.

    Raises:
        MissingToolchainError: PyTorch is not installed.
        ValueError: The dataset is empty.
    """
    with needs_extra("evaluating a federation's model", "torch", "train"):
        import torch

        from reefl_edge.finetune.step import cross_entropies
        from reefl_edge.models.arrays import network_from
        from reefl_edge.models.preprocess import network_input
    count = num_examples(dataset)
    if not count:
        raise ValueError("there are no examples to evaluate on")
    submodel = checkpoint.submodel
    network = network_from(submodel, checkpoint.arrays, is_shared=True).to(torch_device)
    correct, losses = np.zeros(submodel.num_exits), np.zeros(submodel.num_exits)
    with torch.inference_mode():
        for indices in np.array_split(np.arange(count), -(-count // _BATCH_SIZE)):
            images = network_input(
                dataset.images(indices), submodel.architecture, torch_device=torch_device
            )
            labels = torch.from_numpy(dataset.labels[indices]).to(torch_device)
            logits = network(images)  # (E, B, C)
            correct += (logits.argmax(-1) == labels).sum(1).cpu().numpy()
            losses += len(indices) * cross_entropies(logits, labels).cpu().numpy()
    return Evaluation(
        accuracy=tuple((correct / count).tolist()), losses=tuple((losses / count).tolist())
    )

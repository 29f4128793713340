"""Where does a network come from when no pretrained file exists, as for the demo's digits?

Central training of all exits on public data, before any client is there. The paper starts from
DeiT's published weights instead, so this recipe is ours; every constant was chosen on the digits.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import OneCycleLR

from reefl_edge.data.dataset import Dataset, Images, num_examples
from reefl_edge.finetune.batches import ShuffledBatches, check_counts, check_dataset
from reefl_edge.finetune.step import cross_entropies
from reefl_edge.models.preprocess import network_input
from reefl_edge.models.reefl import ReeFL

# What an exit counts beside the next deeper one. With equal weights the first exit is as good as
# the last, at the last one's expense.
SHALLOWER_WEIGHT = 0.25
WEIGHT_DECAY = 0.05
GRADIENT_NORM_LIMIT = 1.0
# Share of the steps in which the learning rate rises.
RISE = 0.1


def pretrain(
    network: ReeFL,
    dataset: Dataset,
    *,
    epochs: int = 50,
    batch_size: int = 64,
    learning_rate: float = 2e-3,
    max_shift: int = 2,
    seed: int = 0,
    on_step: Callable[[int, int], None] | None = None,
) -> None:
    """Train all exits of a network from scratch, in place.

    Args:
        network: Its regime must be ``full``; its linear weights are drawn anew.
        dataset: Images of the network's size.
        epochs: How often every example is seen.
        batch_size: Examples per step; an epoch's last batch may be smaller.
        learning_rate: The highest of the run: it rises, then falls as a cosine.
        max_shift: How far an image may be moved at random, in pixels.
        seed: Of the weights, the order of the examples, and the shifts.
        on_step: Called after every step with the steps done and those to do.

    Raises:
        ValueError: The regime is not ``full``, the dataset is empty or does not fit the network,
            or a number is out of range.
    """
    if network.submodel.regime != "full":
        raise ValueError(f"regime {network.submodel.regime!r} does not train from scratch")
    architecture = network.submodel.architecture
    check_counts(epochs=epochs, batch_size=batch_size)
    check_dataset(dataset, architecture)
    draw_weights(network, seed=seed)
    generator = np.random.default_rng(seed)
    batches = ShuffledBatches(
        num_examples(dataset), epochs=epochs, batch_size=batch_size, generator=generator
    )
    parameters = [*network.parameters()]
    optimizer = AdamW(parameters, lr=learning_rate, weight_decay=WEIGHT_DECAY, fused=True)
    cycle = OneCycleLR(optimizer, learning_rate, total_steps=len(batches), pct_start=RISE)
    for step, indices in enumerate(batches, start=1):
        images = shift(dataset.images(indices), max_shift, generator)
        loss = weighted_loss(
            network(network_input(images, architecture)), torch.from_numpy(dataset.labels[indices])
        )
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(parameters, GRADIENT_NORM_LIMIT)
        optimizer.step()
        cycle.step()
        if on_step is not None:
            on_step(step, len(batches))


def weighted_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Sum the exits' losses, deeper exits counting for more: logits (E, B, C), labels (B,)."""
    num_exits = len(logits)
    exit_weights = SHALLOWER_WEIGHT ** torch.arange(num_exits - 1, -1, -1)  # (E,)
    return (exit_weights * cross_entropies(logits, labels)).sum()


def draw_weights(network: ReeFL, *, seed: int) -> None:
    """Draw every linear weight from a uniform distribution as wide as its layer asks for.

    ReeFL's own start is made for 384 wide, pretrained backbones; from there, a narrow network is
    far from done after as many steps. Source: Glorot and Bengio 2010.
    """
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight, generator=generator)


def shift(images: Images, max_shift: int, generator: np.random.Generator) -> Images:
    """Move every image, (B, H, W, 3), by up to ``max_shift`` pixels each way; black moves in."""
    edges = ((0, 0), (max_shift, max_shift), (max_shift, max_shift), (0, 0))
    padded = np.pad(images, edges)
    height, width = images.shape[1:3]
    tops, lefts = generator.integers(0, 2 * max_shift, (2, len(images)), endpoint=True)
    return np.stack(
        [
            image[top : top + height, left : left + width]
            for image, top, left in zip(padded, tops, lefts, strict=True)
        ]
    )

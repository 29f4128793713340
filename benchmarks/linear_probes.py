"""What does a linear classifier at each exit reach, where ReeFL has its accumulator?

The baseline of the results on CIFAR-100: a norm and a linear layer per exit on the class token of
the frozen backbone, without accumulator, modulation or distillation, trained with the recipe of the
local step (SGD, the schedule's rate, gradients clipped by value). The backbone is frozen and its
images are fixed, so its class tokens are computed once.

    python -m benchmarks.linear_probes deit.safetensors cifar100.npz -o probes.json
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from reefl_edge.data.dataset import Dataset
from reefl_edge.data.reading import read_dataset
from reefl_edge.devices.host import describe_host
from reefl_edge.files import write_text
from reefl_edge.finetune.batches import ShuffledBatches
from reefl_edge.finetune.rounds import learning_rate
from reefl_edge.finetune.step import GRADIENT_LIMIT, cross_entropies
from reefl_edge.models import load_checkpoint
from reefl_edge.models.preprocess import network_input
from reefl_edge.models.reefl import Classifier, ReeFL
from reefl_edge.names import numbered_names
from reefl_edge.schema import to_dict

NUM_EXITS = 4


def main() -> None:
    """Train the probes and write their accuracy, per exit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weights", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--image-size", type=int, default=96)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--server-round", type=int, default=300)
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()

    num_classes = 100
    network = load_checkpoint(
        options.weights,
        num_classes=num_classes,
        num_exits=NUM_EXITS,
        image_size=options.image_size,
    )
    names = numbered_names(num_classes)
    train, test = (
        read_dataset(
            Path(f"{options.data}#{split}"), image_size=options.image_size, class_names=names
        )
        for split in ("train", "test")
    )
    tokens = class_tokens(network, train)
    probes = train_probes(tokens, train.labels, vars(options))
    accuracy = [
        float((probe(feature).argmax(-1).numpy() == test.labels).mean())
        for probe, feature in zip(probes, class_tokens(network, test), strict=True)
    ]
    settings = {
        key: getattr(options, key) for key in ("image_size", "epochs", "batch_size", "server_round")
    }
    document = {
        "what": "a norm and a linear layer per exit on the frozen backbone's class token",
        "settings": settings,
        "host": to_dict(describe_host()),
        "num_train": len(train.labels),
        "num_test": len(test.labels),
        "accuracy_after": accuracy,
    }
    write_text(options.output, json.dumps(document, indent=2) + "\n")


@torch.no_grad()
def class_tokens(network: ReeFL, dataset: Dataset, batch_size: int = 128) -> list[Tensor]:
    """Return the backbone's class token at every exit, (N, D) each, without modulation."""
    architecture = network.submodel.architecture
    per_batch: list[list[Tensor]] = []
    for start in range(0, len(dataset.labels), batch_size):
        indices = np.arange(start, min(start + batch_size, len(dataset.labels)))
        tokens = network.embed(network_input(dataset.images(indices), architecture))
        features = []
        for block_index, block in enumerate(network.blocks):
            tokens = block(tokens)
            if block_index in network.exit_blocks:
                features.append(tokens[:, 0])
        per_batch.append(features)
    return [torch.cat(parts) for parts in zip(*per_batch, strict=True)]


def train_probes(
    features: list[Tensor], labels: NDArray[np.int64], settings: dict[str, int]
) -> list[nn.Module]:
    """Train a classifier on the features of every exit."""
    torch.manual_seed(0)
    rate = learning_rate(settings["server_round"])
    probes: list[nn.Module] = [
        Classifier(width=feature.shape[1], num_classes=100) for feature in features
    ]
    parameters = [parameter for probe in probes for parameter in probe.parameters()]
    generator = np.random.default_rng(0)
    for indices in ShuffledBatches(
        len(labels),
        epochs=settings["epochs"],
        batch_size=settings["batch_size"],
        generator=generator,
    ):
        logits = torch.stack(
            [probe(feature[indices]) for probe, feature in zip(probes, features, strict=True)]
        )
        loss = cross_entropies(logits, torch.from_numpy(labels[indices])).sum()
        for parameter, gradient in zip(
            parameters, torch.autograd.grad(loss, parameters), strict=True
        ):
            change = gradient.clamp(-GRADIENT_LIMIT, GRADIENT_LIMIT)
            parameter.data.sub_(rate * change)
    return probes


if __name__ == "__main__":
    main()

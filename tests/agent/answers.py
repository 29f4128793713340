"""What does a bundle answer, and what does training make of it? Runs here and in an agent.

``answers.py BUNDLE DATA.npz OUT.npz``: the logits where each image stops, and the trained
arrays.
"""

import sys
from pathlib import Path

import numpy as np

from reefl_edge.adaptive import AdaptiveSession, ConfidencePolicy
from reefl_edge.bundles.bundle import Bundle
from reefl_edge.data.dataset import ArrayDataset
from reefl_edge.finetune.client import train_client
from reefl_edge.finetune.training import LocalTraining

TRAINING = LocalTraining(batch_size=4, learning_rate=0.05, augmentation="crop-flip")


def main(bundle: Bundle, data: Path, out: Path) -> None:
    """Write the answers."""
    with np.load(data) as arrays:
        images, labels = arrays["images"], arrays["labels"]
    session = AdaptiveSession.open(bundle, policy=ConfidencePolicy((0.5,)), threads=1)
    prediction = session.predict(images)
    names = bundle.manifest.class_names
    dataset = ArrayDataset(images, labels, names, images.shape[1])
    client = train_client(bundle, "frozen", dataset, TRAINING, stepper="onnx", threads=1)
    np.savez(
        out,
        allow_pickle=False,
        logits=prediction.logits,
        exit_indices=prediction.exit_indices,
        **client.update.arrays,
    )


if __name__ == "__main__":
    bundle_folder, data_file, out_file = map(Path, sys.argv[1:])
    main(Bundle.open(bundle_folder), data_file, out_file)

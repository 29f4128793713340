"""What does int8 cost in accuracy, at every exit, and does it change where images stop?

Every artifact is run on all test images of a data set and compared with the float32 artifact of its
format, image by image. The ranges of activations come from some training images, the threshold at
which to stop from others.

    python -m benchmarks.int8_accuracy --model deit.safetensors --update update.safetensors
"""

import os
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.apparatus.artifacts import (
    checkpoint_of,
    measured_network,
    recipes_for,
    say,
    smooth_noise,
)
from benchmarks.apparatus.documents import Bar, at_least, at_most, parser, write
from benchmarks.apparatus.kept_accuracy import choose_threshold
from benchmarks.apparatus.measured import Runnable, add_runtimes, settings_of
from reefl_edge.adaptive import ConfidencePolicy
from reefl_edge.bundles.artifacts import Artifact
from reefl_edge.bundles.bundle import Bundle
from reefl_edge.checkpoints.checkpoint import Checkpoint, read_checkpoint
from reefl_edge.checkpoints.hashes import weights_sha256
from reefl_edge.checkpoints.update import apply_update, read_update
from reefl_edge.data.dataset import ArrayDataset, Dataset
from reefl_edge.data.reading import read_dataset
from reefl_edge.runtimes.opening import open_runtime
from reefl_edge.thresholds.replay import exits_taken, paired_difference_interval
from reefl_export.bundle import ExportImages, Origin, export_checkpoint
from reefl_export.images import NamedImages
from reefl_export.parity.comparison import chain_logits
from reefl_export.parity.gate import Gate

DROP_LIMIT_POINTS, AGREEMENT_LIMIT = 0.5, 0.97
NUM_CALIBRATION, NUM_VALIDATION = 128, 1000
_PACK = "cifar100/cifar100.npz"
_BATCH_SIZE = 32

Logits = NDArray[np.float32]


class Question(NamedTuple):
    """What is exported, and on which images it is compared."""

    checkpoint: Checkpoint
    calibration: NamedImages
    validation: Dataset
    test: Dataset


def main() -> None:
    """Compare and write the results; say so where there is nothing to compare."""
    options = parser(__doc__, "int8_accuracy")
    add_runtimes(options)
    _add_inputs(options)
    arguments = options.parse_args()
    if not arguments.quick and (arguments.model is None or arguments.data is None):
        print("skipped: give --model, and --data or REEFL_EDGE_DATA")
        return
    question = quick_question() if arguments.quick else read_question(arguments)
    with TemporaryDirectory() as scratch:
        bundle = export(question, arguments.runtimes, Path(scratch, "bundle"))
        threshold, rows = compare(question, bundle)
    write(
        arguments.output,
        settings={
            **settings_of(question.checkpoint.submodel),
            "weights": weights_sha256(question.checkpoint.arrays)[:12],
            "data": question.calibration.name,
            "num_calibration": len(question.calibration.pixels),
            "num_validation": len(question.validation.labels),
            "num_test": len(question.test.labels),
            "threshold": threshold,
        },
        bars=[bar for row in rows for bar in bars(row)],
        artifacts=rows,
    )


def _add_inputs(options: ArgumentParser) -> None:
    folder = os.environ.get("REEFL_EDGE_DATA")
    options.add_argument("--model", type=Path, help="a checkpoint of ours, trained")
    options.add_argument("--update", type=Path, help="a fine-tuning update to apply first")
    options.add_argument(
        "--data",
        type=Path,
        default=None if folder is None else Path(folder, _PACK),
        help="a data set with the splits train and test",
    )


def read_question(arguments: Namespace) -> Question:
    """Read the model, and draw calibration and validation images from the training images."""
    checkpoint = read_checkpoint(arguments.model)
    if arguments.update is not None:
        checkpoint = apply_update(checkpoint, read_update(arguments.update))
    edge, names = checkpoint.submodel.architecture.image_size, checkpoint.names()
    train, test = (
        read_dataset(Path(f"{arguments.data}#{split}"), image_size=edge, class_names=names)
        for split in ("train", "test")
    )
    drawn = np.random.default_rng(0).permutation(len(train.labels))
    images = train.images(drawn[:NUM_CALIBRATION])
    validation = drawn[NUM_CALIBRATION:][:NUM_VALIDATION]
    return Question(
        checkpoint=checkpoint,
        calibration=NamedImages(name=arguments.data.name, pixels=images),
        validation=ArrayDataset(
            train.images(validation), train.labels[validation], train.class_names, edge
        ),
        test=test,
    )


def quick_question() -> Question:
    """Return random weights and random images: nothing to learn from, but all of it runs."""
    checkpoint = checkpoint_of(measured_network(is_quick=True))
    edge = checkpoint.submodel.architecture.image_size
    sample = smooth_noise(checkpoint.submodel)
    labels = np.arange(len(sample.pixels)) % checkpoint.submodel.architecture.num_classes
    dataset = ArrayDataset(sample.pixels, labels, checkpoint.names(), edge)
    return Question(checkpoint=checkpoint, calibration=sample, validation=dataset, test=dataset)


def export(question: Question, runtimes: Sequence[Runnable], folder: Path) -> Bundle:
    """Export in float32 and int8; no gate, because the figures themselves are asked for."""
    return export_checkpoint(
        question.checkpoint,
        folder,
        [replace(recipe, gate=Gate()) for recipe in recipes_for(runtimes)],
        Origin(name="int8"),
        images=ExportImages(calibration=question.calibration),
        on_stage=say,
    ).bundle


def compare(question: Question, bundle: Bundle) -> tuple[float, list[dict[str, Any]]]:
    """Run every artifact; return the threshold, and each int8 artifact against its float32."""
    artifacts = bundle.manifest.artifacts
    references = {each.target: each for each in artifacts if each.precision == "fp32"}
    first = all_logits(bundle, artifacts[0], question.validation)
    threshold = choose_threshold(first, question.validation.labels)
    labels = question.test.labels
    rows = []
    for target, reference in references.items():
        expected = all_logits(bundle, reference, question.test)
        for artifact in artifacts:
            if artifact.target == target and artifact != reference:
                actual = all_logits(bundle, artifact, question.test)
                found = differences(expected, actual, labels, threshold)
                rows.append({"name": f"{target} {artifact.precision}", **found})
    return threshold, rows


def all_logits(bundle: Bundle, artifact: Artifact, dataset: Dataset) -> Logits:
    """Return the logits of every exit for every image, (E, N, C)."""
    say(f"{artifact.target} {artifact.precision}: {len(dataset.labels)} images")
    assert artifact.target != "coreml"
    runtime = open_runtime(artifact.target, bundle, precision=artifact.precision)
    num_exits = bundle.manifest.submodel.num_exits
    indices = np.arange(len(dataset.labels))
    parts = [
        np.stack(
            chain_logits(
                runtime, dataset.images(indices[start : start + _BATCH_SIZE]), num_exits=num_exits
            )
        )
        for start in range(0, len(indices), _BATCH_SIZE)
    ]
    return np.concatenate(parts, axis=1)


def differences(
    reference: Logits, logits: Logits, labels: NDArray[np.int64], threshold: float
) -> dict[str, Any]:
    """Compare logits (E, N, C) of the same images: each exit's accuracy, and where they stop."""
    policy = ConfidencePolicy((threshold,))
    stops_equally = exits_taken(policy, reference) == exits_taken(policy, logits)
    exits = []
    for before, after in zip(reference, logits, strict=True):
        was_correct, is_correct = (each.argmax(-1) == labels for each in (before, after))
        low, high = paired_difference_interval(was_correct, is_correct)
        exits.append(
            {
                "fp32_top1": float(was_correct.mean()),
                "int8_top1": float(is_correct.mean()),
                "drop_points": 100 * float(was_correct.mean() - is_correct.mean()),
                "low_points": 100 * low,
                "high_points": 100 * high,
            }
        )
    return {"exit_agreement": float(stops_equally.mean()), "exits": exits}


def bars(row: dict[str, Any]) -> Iterator[Bar]:
    """Hold an artifact to what the issue asks for."""
    for exit_index, each in enumerate(row["exits"]):
        figure = {
            "ratio": each["drop_points"],
            "low": each["low_points"],
            "high": each["high_points"],
        }
        what = f"{row['name']}: points lost at exit {exit_index}"
        yield at_most(what, figure, DROP_LIMIT_POINTS)
    what = f"{row['name']}: share of images that stop at the same exit"
    yield at_least(what, row["exit_agreement"], AGREEMENT_LIMIT)


if __name__ == "__main__":
    main()

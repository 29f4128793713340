"""What is taken for the whole world, when promises made on a part of it are judged?

The answers of a trained network to all test images of a data set; or made-up ones, to see that the
benchmark runs.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.apparatus.artifacts import say
from reefl_edge.adaptive import ConfidencePolicy
from reefl_edge.bundles.bundle import Bundle
from reefl_edge.checkpoints.checkpoint import read_checkpoint
from reefl_edge.checkpoints.hashes import weights_sha256
from reefl_edge.data.dataset import Images, Indices
from reefl_edge.demo.digits import load_digits, split_digits
from reefl_edge.finetune.evaluate import checkpoint_logits
from reefl_edge.runtimes.opening import open_runtime
from reefl_edge.tasks.exit_times import mean_exit_ms, timed_exits
from reefl_edge.tasks.validation import ValidationImages, answers_of, read_validation
from reefl_edge.thresholds.exits import ExitAnswers

_NUM_TIMED = 200
_HASH_DIGITS = 12

Logits = NDArray[np.float32]
Labels = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class World:
    """All there is: logits (E, N, C), classes (N,), and the time up to each exit (E,).

    Attributes:
        name: Of the data.
        weights: The beginning of the hash of the network's weights.
        logits: Of every exit.
        labels: The classes.
        exit_ms: The times.
        shifted: Other worlds, by how they differ, in which the same network answers.
    """

    name: str
    weights: str
    logits: Logits
    labels: Labels
    exit_ms: NDArray[np.float64]
    shifted: dict[str, tuple[Logits, Labels]]

    def answers(self, temperatures: tuple[float, ...] = ()) -> ExitAnswers:
        """Return what the exits answer to everything."""
        return ExitAnswers.of(
            self.logits, self.labels, exit_ms=self.exit_ms, temperatures=temperatures
        )


def cifar_world(bundle: Bundle, data: Path, kept_in: Path | None) -> World:
    """Return the test images of a data set, as they are, blurred, and with noise.

    Args:
        bundle: Of a network that was trained on the data.
        data: The data set, with a split ``test``.
        kept_in: Where the network's answers are, or go; None for nowhere.
    """
    weights = bundle.manifest.weights_sha256[:_HASH_DIGITS]
    if kept_in is not None and kept_in.is_file():
        return _kept_world(kept_in, weights)
    runtime = open_runtime("onnx", bundle)
    clean = read_validation(f"{data}#test", bundle, labels_for="the benchmark")
    assert clean.labels is not None  # as asked for
    exit_ms = mean_exit_ms(
        timed_exits(
            runtime,
            clean,
            ConfidencePolicy((0.5,)),
            num_exits=bundle.manifest.submodel.num_exits,
            num_images=_NUM_TIMED,
        )
    )
    shifted = {}
    for name, change in (("as they are", np.asarray), ("blur", blurred), ("noise", noisy)):
        say(f"{data.name}, {name}: {clean.count} images")
        images = ValidationImages(clean.count, partial(_changed, clean, change), clean.labels)
        logits = answers_of(runtime, bundle, images, artifact="onnx-fp32").logits
        shifted[name] = (logits, clean.labels)
    if kept_in is not None:
        kept: dict[str, Any] = {name: logits for name, (logits, _) in shifted.items()}
        np.savez(kept_in, labels=clean.labels, exit_ms=exit_ms, **kept)
    logits, _ = shifted.pop("as they are")
    return World("CIFAR-100", weights, logits, clean.labels, exit_ms, shifted)


def _kept_world(path: Path, weights: str) -> World:
    """Return what an earlier run of the same bundle answered."""
    with np.load(path) as arrays:
        labels = arrays["labels"]
        shifted = {name: (arrays[name], labels) for name in ("blur", "noise")}
        logits, exit_ms = arrays["as they are"], arrays["exit_ms"]
        return World("CIFAR-100", weights, logits, labels, exit_ms, shifted)


def _changed(
    images: ValidationImages, change: Callable[[Images], Images], indices: Indices
) -> Images:
    return change(images.images(indices))


def blurred(images: Images) -> Images:
    """Return images (B, H, W, 3) averaged over 5 x 5 pixels."""
    padded = np.pad(images.astype(np.float32), ((0, 0), (2, 2), (2, 2), (0, 0)), mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (5, 5), axis=(1, 2))
    averages: Images = windows.mean(axis=(-2, -1)).round().astype(np.uint8)
    return averages


def noisy(images: Images) -> Images:
    """Return images with Gaussian noise of 30 of 255 levels."""
    noise = np.random.default_rng(len(images)).normal(0, 30, images.shape)
    return np.clip(images + noise, 0, 255).astype(np.uint8)


def digits_world(folder: Path) -> World:
    """Return the digits that the demo's network was not pretrained on."""
    say("digits")
    checkpoint = read_checkpoint(folder / "model.safetensors")
    submodel = checkpoint.submodel
    digits = load_digits(image_size=submodel.architecture.image_size)
    split = split_digits(digits, seed=0)
    parts = (split.private, split.validation, split.test)
    logits = np.concatenate([checkpoint_logits(checkpoint, part) for part in parts], axis=1)
    labels = np.concatenate([part.labels for part in parts])
    # As its blocks take all of the time, in equal parts.
    exit_ms = np.arange(1, submodel.num_exits + 1) / submodel.num_exits
    weights = weights_sha256(checkpoint.arrays)[:_HASH_DIGITS]
    return World("digits", weights, logits, labels, exit_ms, {})


def made_up_world() -> World:
    """Return logits of no network: the deeper, the surer and the more often right."""
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 5, 600)
    logits = generator.normal(size=(3, 600, 5)).astype(np.float32)
    ease = generator.exponential(4, 600)
    for exit_index in range(3):
        logits[exit_index, np.arange(600), labels] += ease * (1 + exit_index / 2)
    shifted = {"noise": (logits + generator.normal(0, 2, logits.shape).astype(np.float32), labels)}
    return World("made up", "made up", logits, labels, np.array([1.0, 2.0, 3.0]), shifted)

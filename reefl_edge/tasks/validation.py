"""On which images are thresholds chosen or judged, and what does an artifact say of each of them?

Images are decoded once: while the artifact computes, they are hashed. The *identity of images* is a
hash of all their hashes, sorted, as the artifact sees them: it does not depend on their order, on
where they lie, or on the format of their files.

Letters: E exits, N images, C classes.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from reefl_edge.array_files.npz import read_array_file
from reefl_edge.bundles.bundle import Bundle
from reefl_edge.data.classes import in_model_order
from reefl_edge.data.dataset import Images, Indices, Labels, num_examples
from reefl_edge.data.formats.arrays import images_of
from reefl_edge.data.formats.folder import has_images, images_in
from reefl_edge.data.images import read_image, resize
from reefl_edge.data.reading import read_unmapped, split_of
from reefl_edge.errors import InputError, ParityError
from reefl_edge.runtimes.base import Runtime
from reefl_edge.runtimes.chain import run_chain
from reefl_edge.thresholds.exits import Logits

BATCH_SIZE = 64

OnStep = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, eq=False)
class ValidationImages:
    """Images of a model's size, and their classes if those are known.

    Attributes:
        count: How many there are.
        images: Gives those at indices, uint8, (B, edge, edge, 3).
        labels: The class of each, (N,), in the model's order; None where it is not known.
    """

    count: int
    images: Callable[[Indices], Images]
    labels: Labels | None


def read_validation(
    path: str | Path, bundle: Bundle, *, labels_for: str | None
) -> ValidationImages:
    """Read images for a bundle, with labels where there are any of its classes.

    Args:
        path: A dataset as ``read_dataset`` takes it, or images without labels: a folder of them, or
            an .npy or .npz file.
        bundle: The bundle.
        labels_for: What needs labels, so that images without, or of other classes, are refused;
            None for nothing.

    Raises:
        InputError: The path is missing or damaged, holds no images, or lacks the labels.
    """
    given, names = Path(path), bundle.manifest.class_names
    edge = bundle.manifest.submodel.architecture.image_size
    unlabelled = _without_labels(given, edge)
    if unlabelled is not None:
        if labels_for is not None:
            raise InputError(
                f"{path} holds images without labels, which {labels_for} needs: "
                "give a labelled dataset"
            )
        return unlabelled
    dataset = read_unmapped(given, image_size=edge, class_names=names)
    if not num_examples(dataset):
        raise InputError(f"{path} holds no images")
    try:
        mapped = in_model_order(dataset, names)
    except ValueError as error:
        if labels_for is not None:
            raise InputError(f"{path}: {error}") from error
        return ValidationImages(num_examples(dataset), dataset.images, None)
    classes = np.unique(mapped.labels)
    if labels_for is not None and len(classes) == 1:
        raise InputError(
            f"{path} holds one class only, {names[classes[0]]!r}: what holds for it says nothing "
            "of the others; give images of all of them"
        )
    return ValidationImages(num_examples(mapped), mapped.images, mapped.labels)


def _without_labels(path: Path, edge: int) -> ValidationImages | None:
    """Return the images of a folder or an array file without labels; None for anything else."""
    bare, split = split_of(path)
    if bare.is_dir() and split is None and has_images(bare):
        files = images_in(bare)

        def read(indices: Indices) -> Images:
            return np.concatenate([read_image(files[each], image_size=edge) for each in indices])

        return ValidationImages(len(files), read, None)
    if bare.suffix not in (".npy", ".npz") or not bare.is_file():
        return None
    prefix = "" if split is None else f"{split}_"
    arrays = read_array_file(bare, lone="images")
    if f"{prefix}images" not in arrays or f"{prefix}labels" in arrays:
        return None
    pixels = images_of(arrays[f"{prefix}images"], bare)
    if not len(pixels):
        raise InputError(f"{path} holds no images")
    return ValidationImages(len(pixels), lambda indices: resize(pixels[indices], edge), None)


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """What an artifact says of images.

    Attributes:
        logits: Of every exit, (E, N, C).
        images_sha256: Identity of the images.
    """

    logits: Logits
    images_sha256: str


def answers_of(
    runtime: Runtime,
    bundle: Bundle,
    images: ValidationImages,
    *,
    artifact: str,
    on_step: OnStep = lambda _done, _total: None,
) -> Answers:
    """Run every exit on every image.

    Args:
        runtime: What runs the bundle.
        bundle: The bundle.
        images: The images.
        artifact: The name of the artifact that the runtime loaded.
        on_step: Called after every batch with the images done and those to do.

    Raises:
        InputError: An image cannot be read, or the runtime fails.
        ParityError: A logit is no number.
    """
    submodel = bundle.manifest.submodel
    shape = (submodel.num_exits, images.count, submodel.architecture.num_classes)
    logits = np.empty(shape, np.float32)
    digests: list[bytes] = []
    for start in range(0, images.count, BATCH_SIZE):
        indices = np.arange(start, min(start + BATCH_SIZE, images.count))
        pixels = images.images(indices)
        digests += [hashlib.sha256(image.tobytes()).digest() for image in pixels]
        logits[:, indices] = run_chain(runtime, pixels, num_exits=submodel.num_exits)
        on_step(int(indices[-1]) + 1, images.count)
    _refuse_no_numbers(logits, artifact)
    return Answers(logits, hashlib.sha256(b"".join(sorted(digests))).hexdigest())


def _refuse_no_numbers(logits: Logits, artifact: str) -> None:
    for exit_index, each in enumerate(logits):
        bad = int((~np.isfinite(each)).any(axis=-1).sum())
        if bad:
            raise ParityError(
                f"{artifact} gives logits that are no numbers at exit {exit_index}, for {bad} of "
                f"{len(each)} images; reefl-edge parity shows where it leaves the network, and "
                "another --precision may not"
            )

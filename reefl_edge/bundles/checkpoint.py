"""Which checkpoint does a bundle hold?

Its float32 ONNX artifact keeps the weights in a file that is a checkpoint of ours.
"""

from dataclasses import replace
from pathlib import Path, PurePosixPath

from reefl_edge.bundles.bundle import Bundle
from reefl_edge.bundles.facts import hold_to_checkpoint
from reefl_edge.checkpoints.checkpoint import (
    WEIGHTS_NAME,
    Checkpoint,
    map_checkpoint,
    read_checkpoint,
)


def bundled_checkpoint(bundle: Bundle) -> tuple[Checkpoint, Path]:
    """Read the checkpoint in a bundle, as deep as the bundle, and say which file it is.

    Raises:
        InputError: The bundle has no float32 ONNX artifact, a file of it is missing or changed, or
            the manifest says otherwise than the checkpoint.
    """
    path = bundle.file(bundle.artifact("onnx", "fp32"), WEIGHTS_NAME)
    hold_to_checkpoint(bundle, path)
    return _described(bundle, read_checkpoint(path, is_verified=True)), path


def mapped_checkpoint(bundle: Bundle) -> tuple[Checkpoint, Path]:
    """Return the checkpoint in a bundle as views of its file, which is held to its hash elsewhere.

    Returns:
        The checkpoint, and the file.

    Raises:
        InputError: As for ``bundled_checkpoint``.
    """
    (path,) = (
        bundle.directory / file.path
        for file in bundle.artifact("onnx", "fp32").files
        if PurePosixPath(file.path).name == WEIGHTS_NAME
    )
    hold_to_checkpoint(bundle, path)
    return _described(bundle, map_checkpoint(path)), path


def _described(bundle: Bundle, checkpoint: Checkpoint) -> Checkpoint:
    """Return the checkpoint with what the manifest says of it."""
    if bundle.manifest.has_random_weights and not checkpoint.is_untrained:
        checkpoint = replace(checkpoint, random="everything")  # of before checkpoints said it
    return replace(checkpoint, class_names=bundle.manifest.class_names)

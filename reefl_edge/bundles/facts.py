"""What does an artifact say of its model, and does the manifest beside it say the same?

Every artifact carries the *facts* of its model: the sub-model, whose architecture holds the
preprocessing constants, and the class names. They stand inside the file that is loaded and are
covered by its hash, so a manifest that was edited alone is found out. What may change while the
file stays the same is no fact: thresholds, and whose weights these are, stand in the manifest.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reefl_edge import schema
from reefl_edge.bundles.bundle import Bundle
from reefl_edge.bundles.manifest import MANIFEST_NAME, Manifest
from reefl_edge.bundles.training import TrainingStep
from reefl_edge.checkpoints.checkpoint import stated_model
from reefl_edge.errors import InputError
from reefl_edge.submodel import Submodel

# Under which name every artifact holds its facts, as JSON: ONNX metadata, a constant method of an
# ExecuTorch program, user-defined metadata of a Core ML package.
METADATA_KEY = "reefl_edge"

_MAX_SHOWN = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What an artifact says of its model; the fields are those of ``Manifest``.

    What earlier versions wrote besides (threshold, hash of the weights, segments) is passed over.

    Attributes:
        submodel: The sub-model, the preprocessing constants among it.
        class_names: One name per class.
    """

    submodel: Submodel
    class_names: tuple[str, ...]


def facts_of(manifest: Manifest) -> Facts:
    """Return the facts that the artifacts of a manifest's bundle carry."""
    return Facts(submodel=manifest.submodel, class_names=manifest.class_names)


def hold_to_artifact(bundle: Bundle, stated: str | None, path: Path) -> None:
    """Hold a bundle's manifest to the facts inside an artifact.

    Args:
        bundle: The bundle.
        stated: The facts as JSON; None if the artifact holds none.
        path: The artifact's file, which lies in the bundle.

    Raises:
        InputError: The manifest says something else, or the artifact says too little.
    """
    facts = _stated_in(stated, path)
    _hold(bundle, facts_of(bundle.manifest), facts, path.relative_to(bundle.directory))


def _stated_in(stated: str | None, path: Path) -> Facts:
    if stated is None:
        raise InputError(f"{path} does not say which model it is; export the bundle again")
    return schema.from_json(Facts, stated, source=f"{METADATA_KEY} in {path}")


def facts_of_step(step: TrainingStep, class_names: tuple[str, ...]) -> Facts:
    """Return the facts that the artifacts of a training step carry."""
    return Facts(submodel=step.submodel, class_names=class_names)


def hold_to_step(bundle: Bundle, step: TrainingStep, stated: str | None, path: Path) -> None:
    """Hold what a bundle says of a training step to the facts inside its artifact.

    Args:
        bundle: The bundle.
        step: What its manifest says of the step.
        stated: The facts as JSON; None if the artifact holds none.
        path: The artifact's file, which lies in the bundle.

    Raises:
        InputError: The manifest says something else, or the artifact says too little.
    """
    said = facts_of_step(step, bundle.manifest.class_names)
    _hold(bundle, said, _stated_in(stated, path), path.relative_to(bundle.directory))


def hold_to_checkpoint(bundle: Bundle, path: Path) -> None:
    """Hold a bundle's manifest to what the checkpoint in its float32 ONNX artifact says.

    Raises:
        InputError: The manifest says something else, or the file is no checkpoint.
    """
    submodel, class_names = stated_model(path)
    facts = Facts(submodel=submodel, class_names=class_names)
    _hold(bundle, facts_of(bundle.manifest), facts, path.relative_to(bundle.directory))


def _hold(bundle: Bundle, manifest: Facts, stated: Facts, source: Path) -> None:
    for key, said, meant in differences(manifest, stated):
        raise InputError(
            f"{bundle.directory / MANIFEST_NAME} says {key} {_shown(said)}, but "
            f"{source.as_posix()} was exported with {_shown(meant)}; export the bundle again"
        )


def differences(manifest: Facts, stated: Facts) -> Iterator[tuple[str, Any, Any]]:
    """Give every fact of which a manifest says otherwise than an artifact.

    Returns:
        The fact's key, such as ``submodel.architecture.mean.0``, what the manifest says, and what
        the artifact says.
    """
    said, meant = schema.to_dict(manifest), schema.to_dict(stated)
    for key, value in meant.items():
        yield from _unequal(key, said[key], value)


def _unequal(key: str, said: Any, meant: Any) -> Iterator[tuple[str, Any, Any]]:
    """Give the innermost values in which two JSON values differ."""
    if isinstance(said, dict) and isinstance(meant, dict) and said.keys() == meant.keys():
        for name in meant:
            yield from _unequal(f"{key}.{name}", said[name], meant[name])
    elif isinstance(said, list) and isinstance(meant, list) and len(said) == len(meant):
        for index, pair in enumerate(zip(said, meant, strict=True)):
            yield from _unequal(f"{key}.{index}", *pair)
    elif said != meant:
        yield key, said, meant


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."

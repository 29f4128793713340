"""What does MODEL on the command line stand for?

A checkpoint file, a bundle folder (whose ONNX artifact holds a checkpoint), or the name of an
architecture, which means random weights: enough to profile and to export.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import typer

from reefl_edge.architectures import ARCHITECTURES, named_submodel
from reefl_edge.cli.options import usage_errors
from reefl_edge.errors import InputError, MissingToolchainError
from reefl_edge.manifest import Bundle
from reefl_edge.names import closest
from reefl_edge.weights import Checkpoint, read_checkpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """What MODEL stands for.

    Attributes:
        name: A short name.
        checkpoint: Its arrays.
        has_random_weights: It was given by an architecture's name alone.
        threshold: The threshold its bundle stores, if it is a bundle.
        checkpoint_path: Where the arrays lie; None for random weights.
        bundle_path: The bundle, if it is one.
        seed: Of random weights.
    """

    name: str
    checkpoint: Checkpoint
    has_random_weights: bool = False
    threshold: float | None = None
    checkpoint_path: Path | None = None
    bundle_path: Path | None = None
    seed: int = 0

    def cut(self, max_exit: int | None) -> "Model":
        """Return the model cut at an exit; None keeps it."""
        if max_exit is None:
            return self
        with usage_errors("--max-exit"):
            return replace(self, checkpoint=self.checkpoint.cut(max_exit))


def read_model(text: str, *, num_classes: int | None = None, seed: int = 0) -> Model:
    """Read what MODEL stands for.

    Raises:
        InputError: The file is missing, damaged or foreign.
        BadParameter: It is neither a path nor a known name.
    """
    path = Path(text)
    if path.is_dir():
        return _from_bundle(path)
    if path.is_file():
        return Model(name=path.stem, checkpoint=read_checkpoint(path), checkpoint_path=path)
    if text not in ARCHITECTURES:
        if path.suffix or path.parent != Path():
            raise InputError(f"{text}: no such file")
        raise typer.BadParameter(
            f"{text!r} is no file, no bundle and no architecture{closest(text, ARCHITECTURES)}",
            param_hint="'MODEL'",
        )
    return _random(text, num_classes, seed)


def _from_bundle(path: Path) -> Model:
    from reefl_edge.runtimes.base import artifact_path
    from reefl_edge.weights import WEIGHTS_NAME

    bundle = Bundle.open(path)
    weights_path = artifact_path(bundle.verified_paths("onnx"), WEIGHTS_NAME)
    checkpoint = read_checkpoint(weights_path)
    return Model(
        name=bundle.manifest.name,
        checkpoint=replace(checkpoint, class_names=bundle.manifest.class_names),
        has_random_weights=bundle.manifest.has_random_weights,
        threshold=bundle.manifest.threshold,
        checkpoint_path=weights_path,
        bundle_path=path,
    )


def _random(name: str, num_classes: int | None, seed: int) -> Model:
    try:
        from reefl_edge.models.checkpoint import arrays_of, random_network
    except ImportError as error:
        raise MissingToolchainError.for_extra(
            f"random weights for {name}", "torch", "train"
        ) from error
    submodel = named_submodel(name, num_classes=num_classes)
    arrays = arrays_of(random_network(submodel, seed=seed))
    return Model(
        name=name,
        checkpoint=Checkpoint(submodel=submodel, arrays=arrays),
        has_random_weights=True,
        seed=seed,
    )

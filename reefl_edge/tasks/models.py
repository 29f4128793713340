"""What does the name or the path of a model stand for?

A bundle folder (whose ONNX artifact holds a checkpoint), a file, folder or hub id with a model of
ours or somebody else's, or the name of an architecture, which means random weights: enough to
profile and to export.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from reefl_edge.architectures import ARCHITECTURES, named_submodel
from reefl_edge.bundles.bundle import Bundle
from reefl_edge.bundles.checkpoint import bundled_checkpoint
from reefl_edge.bundles.manifest import MANIFEST_NAME
from reefl_edge.bundles.start import read_start
from reefl_edge.bundles.training import TrainingStep
from reefl_edge.checkpoints.checkpoint import Checkpoint
from reefl_edge.checkpoints.description import ModelDescription
from reefl_edge.checkpoints.foreign.files import is_hub_id
from reefl_edge.checkpoints.reading import Reading, read_model_file, read_own
from reefl_edge.checkpoints.update import Update, apply_update
from reefl_edge.errors import InputError
from reefl_edge.extras import needs_extra
from reefl_edge.names import closest


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model that was opened.

    Attributes:
        name: A short name.
        checkpoint: Its arrays.
        threshold: The threshold its bundle stores, if it is a bundle.
        checkpoint_path: A file that holds these arrays, or deeper ones, as a checkpoint of ours, if
            there is one.
        bundle_path: The bundle, if it is one.
        seed: Of what was drawn at random; 0 where nothing was.
    """

    name: str
    checkpoint: Checkpoint
    threshold: float | None = None
    checkpoint_path: Path | None = None
    bundle_path: Path | None = None
    seed: int = 0

    @property
    def image_size(self) -> int:
        """Edge in pixels of the images it takes."""
        return self.checkpoint.submodel.architecture.image_size

    @property
    def class_names(self) -> tuple[str, ...]:
        """One name per class, in the order of its logits: the known ones, or their numbers."""
        return self.checkpoint.names()

    def cut(self, max_exit: int | None) -> "Model":
        """Return the model cut at an exit; None keeps it.

        Raises:
            ValueError: There is no such exit.
        """
        if max_exit is None:
            return self
        return replace(self, checkpoint=self.checkpoint.cut(max_exit))

    def updated(self, update: Update) -> "Model":
        """Return the model with an update's arrays in the place of its own, which no file holds.

        Raises:
            InputError: The update does not fit (``checkpoints.update.apply_update``).
        """
        return replace(
            self,
            checkpoint=apply_update(self.checkpoint, update),
            checkpoint_path=None,
            bundle_path=None,
        )


def open_model(
    source: str | Path, description: ModelDescription | None = None, *, seed: int = 0
) -> Model:
    """Open a model, whatever stands for it.

    Args:
        source: The path of a bundle, or of a model's file or folder; a hub id such as
            ``facebook/deit-tiny-patch16-224``; or the name of an architecture.
        description: What its file does not say of it.
        seed: Of what starts at random.

    Raises:
        InputError: The file is missing, damaged or foreign.
        ValueError: It is neither a path nor a known name, or ``description`` do not fit it.
        MissingToolchainError: It takes a package that is not installed.
    """
    description = description or ModelDescription()
    text, path = str(source), Path(source)
    if (path / MANIFEST_NAME).is_file():
        return _from_bundle(path, description)
    if path.exists() or is_hub_id(text):
        return _from_file(text, description, seed)
    if text in ARCHITECTURES:
        return _random(text, description, seed)
    if path.suffix or path.parent != Path():
        raise InputError(f"{text}: no such file")
    raise ValueError(
        f"{text!r} is no file, no bundle and no architecture{closest(text, ARCHITECTURES)}"
    )


def trainable_model(bundle: Bundle, step: TrainingStep) -> Model:
    """Return the model that a compiled step of a bundle starts from, under its regime.

    Raises:
        InputError: A file is missing or changed, or the manifest says otherwise than it does.
    """
    return Model(
        name=bundle.manifest.name,
        checkpoint=read_start(bundle, step),
        threshold=bundle.manifest.common_threshold,
        bundle_path=bundle.directory,
    )


def _from_bundle(path: Path, description: ModelDescription) -> Model:
    bundle = Bundle.open(path)
    reading = read_own(*bundled_checkpoint(bundle), description)
    return Model(
        name=bundle.manifest.name,
        checkpoint=reading.completed({}),
        threshold=bundle.manifest.common_threshold,
        checkpoint_path=reading.path,
        bundle_path=path if reading.path is not None else None,
    )


def _from_file(text: str, description: ModelDescription, seed: int) -> Model:
    reading = read_model_file(text, description)
    return Model(
        name=Path(text).stem if Path(text).is_file() else Path(text).name,
        checkpoint=_completed(reading, text, seed),
        checkpoint_path=reading.path,
        seed=seed if reading.fresh else 0,
    )


def _completed(reading: Reading, text: str, seed: int) -> Checkpoint:
    if not reading.fresh:
        return reading.completed({})
    with needs_extra(f"a new accumulator and classifier for {text}", "torch", "train"):
        from reefl_edge.models.checkpoint import complete
    return complete(reading, seed=seed)


def _random(name: str, description: ModelDescription, seed: int) -> Model:
    with needs_extra(f"random weights for {name}", "torch", "train"):
        from reefl_edge.models.arrays import arrays_of, random_network
    submodel = named_submodel(
        name, num_classes=description.num_classes, image_size=description.image_size
    )
    schedule = description.schedule(num_blocks=submodel.architecture.num_blocks)
    submodel = replace(
        submodel,
        schedule=schedule,
        max_exit=schedule.num_exits - 1,
        regime=description.regime or submodel.regime,
    )
    submodel = description.apply(submodel, source=name)
    arrays = arrays_of(random_network(submodel, seed=seed))
    return Model(
        name=name,
        checkpoint=Checkpoint(submodel=submodel, arrays=arrays, random="everything"),
        seed=seed,
    )

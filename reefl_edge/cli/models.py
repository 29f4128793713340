"""What does MODEL on the command line stand for?

A bundle folder (whose ONNX artifact holds a checkpoint), a file, folder or hub id with a model of
ours or somebody else's, or the name of an architecture, which means random weights: enough to
profile and to export.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path

import typer

from reefl_edge.architectures import ARCHITECTURES, named_submodel
from reefl_edge.cli.options import usage_errors
from reefl_edge.errors import InputError
from reefl_edge.extras import needs_extra
from reefl_edge.facts import hold_to_checkpoint
from reefl_edge.foreign.facts import ModelFacts
from reefl_edge.foreign.files import is_hub_id
from reefl_edge.foreign.reading import Reading, read_model_file
from reefl_edge.manifest import MANIFEST_NAME, Bundle
from reefl_edge.names import closest
from reefl_edge.submodel import Submodel
from reefl_edge.weights import WEIGHTS_NAME, Checkpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """What MODEL stands for.

    Attributes:
        name: A short name.
        arguments: How to say it again on a command line, word by word.
        checkpoint: Its arrays.
        threshold: The threshold its bundle stores, if it is a bundle.
        checkpoint_path: A file that holds these arrays as a checkpoint of ours, if there is one.
        bundle_path: The bundle, if it is one.
        seed: Of random weights.
    """

    name: str
    arguments: tuple[str, ...]
    checkpoint: Checkpoint
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


def read_model(text: str, facts: ModelFacts | None = None, *, seed: int = 0) -> Model:
    """Read what MODEL stands for.

    Args:
        text: A path, a hub id, or an architecture's name.
        facts: What the options say of it.
        seed: Of what starts at random.

    Raises:
        InputError: The file is missing, damaged or foreign.
        BadParameter: It is neither a path nor a known name, or the options do not fit it.
    """
    facts = facts or ModelFacts()
    path = Path(text)
    with usage_errors("MODEL"):
        if (path / MANIFEST_NAME).is_file():
            return _from_bundle(path, facts)
        if path.exists() or is_hub_id(text):
            return _from_file(text, facts, seed)
        if text in ARCHITECTURES:
            return _random(text, facts, seed)
    if path.suffix or path.parent != Path():
        raise InputError(f"{text}: no such file")
    raise typer.BadParameter(
        f"{text!r} is no file, no bundle and no architecture{closest(text, ARCHITECTURES)}",
        param_hint="'MODEL'",
    )


def _from_bundle(path: Path, facts: ModelFacts) -> Model:
    bundle = Bundle.open(path)
    weights = bundle.file(bundle.artifact("onnx", "fp32"), WEIGHTS_NAME)
    hold_to_checkpoint(bundle, weights)
    reading = read_model_file(weights, facts, is_verified=True)
    checkpoint = replace(reading.completed({}), class_names=bundle.manifest.class_names)
    if bundle.manifest.has_random_weights and not checkpoint.is_untrained:
        checkpoint = replace(checkpoint, random="everything")  # of before checkpoints said it
    return Model(
        name=bundle.manifest.name,
        arguments=_arguments(str(path), facts),
        checkpoint=checkpoint,
        threshold=bundle.manifest.common_threshold,
        checkpoint_path=reading.path,
        bundle_path=path if reading.path is not None else None,
    )


def _from_file(text: str, facts: ModelFacts, seed: int) -> Model:
    reading = read_model_file(text, facts)
    return Model(
        name=Path(text).stem if Path(text).is_file() else Path(text).name,
        arguments=_arguments(text, facts, seed=seed if reading.fresh else 0),
        checkpoint=_completed(reading, text, seed),
        checkpoint_path=reading.path,
        seed=seed,
    )


def _completed(reading: Reading, text: str, seed: int) -> Checkpoint:
    if not reading.fresh:
        return reading.completed({})
    with needs_extra(f"a new accumulator and classifier for {text}", "torch", "train"):
        from reefl_edge.models.loading import complete
    return complete(reading, seed=seed)


def _random(name: str, facts: ModelFacts, seed: int) -> Model:
    with needs_extra(f"random weights for {name}", "torch", "train"):
        from reefl_edge.models.checkpoint import arrays_of, random_network
    submodel = named_submodel(name, num_classes=facts.num_classes, image_size=facts.image_size)
    schedule = facts.schedule(num_blocks=submodel.architecture.num_blocks)
    submodel = replace(
        submodel,
        schedule=schedule,
        max_exit=schedule.num_exits - 1,
        regime=facts.regime or submodel.regime,
    )
    submodel = facts.apply(submodel, source=name)
    arrays = arrays_of(random_network(submodel, seed=seed))
    return Model(
        name=name,
        arguments=_arguments(name, facts, seed=seed),
        checkpoint=Checkpoint(submodel=submodel, arrays=arrays, random="everything"),
        seed=seed,
    )


def _arguments(text: str, facts: ModelFacts, *, seed: int = 0) -> tuple[str, ...]:
    """Say MODEL again, with the options that say what it does not."""
    words = (text, *_options(replace(facts, max_exit=None)))
    return (*words, "--seed", str(seed)) if seed else words


def restated(submodel: Submodel) -> tuple[str, ...]:
    """Write the options that say of a sub-model what a file of the released code does not."""
    architecture = submodel.architecture
    facts = ModelFacts(
        exit_blocks=submodel.schedule.blocks,
        regime=submodel.regime,
        num_heads=architecture.num_heads,
        mean=architecture.mean,
        std=architecture.std,
    )
    return tuple(_options(facts))


def _options(facts: ModelFacts) -> Iterator[str]:
    for name in (each.name for each in fields(facts)):
        value = getattr(facts, name)
        if value is not None:
            yield f"--{name.replace('_', '-')}"
            yield ",".join(map(str, value)) if isinstance(value, tuple) else str(value)

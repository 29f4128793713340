"""What model is in a file, whoever wrote it?

Our own checkpoints say everything. The released ReeFL code's state dicts hold every array, but not
where the exits are. DeiT's, timm's and transformers' files hold a backbone: what is *fresh*, the
accumulator and the classifier, is for the caller to initialise.
"""

import logging
from dataclasses import dataclass
from pathlib import Path

from reefl_edge.array_files.safetensors import Arrays
from reefl_edge.checkpoints.checkpoint import Checkpoint, is_ours, read_checkpoint
from reefl_edge.checkpoints.description import ModelDescription
from reefl_edge.checkpoints.foreign.files import PICKLE_SUFFIXES, Located, locate, read_arrays
from reefl_edge.checkpoints.foreign.layout import Layout, join
from reefl_edge.checkpoints.foreign.layouts import layout_of
from reefl_edge.checkpoints.foreign.positions import resized
from reefl_edge.checkpoints.foreign.released import possible_regimes
from reefl_edge.checkpoints.foreign.sizes import Shapes, architecture_of
from reefl_edge.checkpoints.metadata import RandomPart
from reefl_edge.errors import InputError
from reefl_edge.regimes import is_trained
from reefl_edge.submodel import ArraySpec, ExitSchedule, Regime, Submodel

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What was read of a model.

    Attributes:
        submodel: What the model is.
        arrays: The arrays its file holds, under our names.
        class_names: One name per class, if known.
        random: What of its arrays the file says is random.
        path: The file, if it is a checkpoint of ours that holds exactly these arrays.
    """

    submodel: Submodel
    arrays: Arrays
    class_names: tuple[str, ...] | None = None
    random: RandomPart = "nothing"
    path: Path | None = None

    @property
    def fresh(self) -> tuple[str, ...]:
        """The arrays that the file does not hold."""
        names = (spec.name for spec in self.submodel.arrays())
        return tuple(name for name in names if name not in self.arrays)

    def completed(self, initial: Arrays) -> Checkpoint:
        """Return the checkpoint, with what is fresh taken from ``initial``."""
        arrays = {
            spec.name: self.arrays.get(spec.name, initial.get(spec.name))
            for spec in self.submodel.arrays()
        }
        complete = {name: array for name, array in arrays.items() if array is not None}
        random = "shared" if self.fresh and self.random == "nothing" else self.random
        return Checkpoint(
            submodel=self.submodel,
            arrays=complete,
            class_names=self.class_names,
            random=random,
        )


def read_model_file(source: str | Path, description: ModelDescription | None = None) -> Reading:
    """Read a model: our checkpoint, or a foreign file, folder or hub id.

    Args:
        source: A path, or a hub id such as ``facebook/deit-tiny-patch16-224``.
        description: What the caller says of it.

    Raises:
        InputError: The file is missing, damaged, or in no known layout; or arrays are missing, left
            over or of another shape: all of them are listed.
        ValueError: The caller says too little, or something else than the file.
        MissingToolchainError: It takes a package that is not installed.
    """
    description = description or ModelDescription()
    located = locate(source)
    if _is_ours(located.path):
        return read_own(read_checkpoint(located.path), located.path, description)
    arrays = read_arrays(located.path)
    layout = layout_of(arrays, source=str(source))
    read = _whole if layout.is_whole else _backbone
    submodel, joined = read(arrays, layout, located, description)
    submodel, joined = resized(submodel, joined, description.image_size)
    return Reading(submodel=submodel, arrays=joined)


def _is_ours(path: Path) -> bool:
    """Tell whether a file is a checkpoint of ours, which may have any name.

    Raises:
        InputError: It is called a safetensors file, and is a damaged one.
    """
    if path.suffix in (".npz", *PICKLE_SUFFIXES):
        return False
    try:
        return is_ours(path)
    except InputError:
        if path.suffix == ".safetensors":
            raise
        return False


def read_own(checkpoint: Checkpoint, path: Path, description: ModelDescription) -> Reading:
    """Hold a checkpoint of ours to what the caller says of it, and resize it if asked to.

    Args:
        checkpoint: The checkpoint.
        path: The file it was read from.
        description: What the caller says.

    Raises:
        ValueError: The caller says something else than the checkpoint.
    """
    submodel = description.apply(checkpoint.submodel, source=str(path))
    arrays = _only(checkpoint.arrays, submodel)
    is_same = len(arrays) == len(checkpoint.arrays)
    submodel, arrays = resized(submodel, arrays, description.image_size)
    return Reading(
        submodel=submodel,
        arrays=arrays,
        class_names=checkpoint.class_names,
        random=checkpoint.random,
        path=path if is_same and arrays["pos_embed"] is checkpoint.arrays["pos_embed"] else None,
    )


def _backbone(
    arrays: Arrays, layout: Layout, located: Located, description: ModelDescription
) -> tuple[Submodel, Arrays]:
    """Read a file without accumulator and classifier."""
    if description.num_classes is None:
        raise ValueError(
            f"{located.path} is a backbone, which brings no classifier: "
            "say how many classes there are: num_classes (--num-classes)"
        )
    shapes = Shapes(arrays, layout, source=str(located.path))
    num_blocks = shapes.depth()
    architecture = architecture_of(
        shapes,
        description,
        located.config,
        num_blocks=num_blocks,
        num_classes=description.num_classes,
    )
    # All of the file is checked, also what lies deeper than the last exit.
    whole = Submodel(
        architecture=architecture, schedule=ExitSchedule((num_blocks - 1,)), max_exit=0
    )
    joined = join(arrays, _backbone_specs(whole), layout, source=str(located.path))
    schedule = description.schedule(num_blocks=num_blocks)
    submodel = Submodel(
        architecture=architecture,
        schedule=schedule,
        max_exit=schedule.num_exits - 1 if description.max_exit is None else description.max_exit,
        regime=description.regime or "full",
    )
    return submodel, _only(joined, submodel)


def _backbone_specs(submodel: Submodel) -> tuple[ArraySpec, ...]:
    # What every regime trains is what all exits share, and no backbone has it.
    return tuple(spec for spec in submodel.arrays() if not is_trained(spec.name, "frozen"))


def _whole(
    arrays: Arrays, layout: Layout, located: Located, description: ModelDescription
) -> tuple[Submodel, Arrays]:
    """Read a state dict of the released code."""
    source = str(located.path)
    if not description.has_schedule:
        raise ValueError(
            f"{source} does not say how many exits there are: num_exits (--num-exits), or their "
            "blocks: exit_blocks (--exit-blocks)"
        )
    if None in (description.mean, description.std) and not located.config.says_normalisation:
        _warn_of_normalisation(source)
    shapes = Shapes(arrays, layout, source=source)
    num_rows = shapes.of("accumulator.depth_embedding", num_axes=3)[1]
    num_classes = shapes.of("classifier.linear.weight", num_axes=2)[0]
    if description.num_classes not in (None, num_classes):
        raise ValueError(f"{source} says otherwise: num_classes is {num_classes}")
    architecture = architecture_of(
        shapes, description, located.config, num_blocks=num_rows - 1, num_classes=num_classes
    )
    schedule = description.schedule(num_blocks=architecture.num_blocks)
    submodel = Submodel(
        architecture=architecture,
        schedule=schedule,
        max_exit=_exit_at(shapes.depth(), schedule, source),
        regime=description.regime or _regime_of(arrays, source),
    )
    joined = join(arrays, submodel.arrays(), layout, source=source)
    if description.max_exit is not None:
        submodel = submodel.cut(description.max_exit)
    return submodel, _only(joined, submodel)


def _warn_of_normalisation(source: str) -> None:
    """Log that pixels may be normalised otherwise than the weights were trained on.

    Source of the numbers: royson/reefl 61b18c1, data/cifar100_dataset.py.
    """
    _log.warning(
        "%s does not say how pixels are normalised: ImageNet's mean and deviation are assumed, "
        "though the released code does not use them; say its own with --mean and --std to "
        "'reefl-edge convert', for CIFAR-100 --mean 0.5070752,0.4865489,0.4409178 "
        "--std 0.2673343,0.2564385,0.2761505",
        source,
    )


def _exit_at(depth: int, schedule: ExitSchedule, source: str) -> int:
    """Return the exit after a file's last block."""
    if depth - 1 not in schedule.blocks:
        depths = ", ".join(str(block + 1) for block in schedule.blocks)
        raise InputError(f"{source} has {depth} blocks, but the exits are after {depths} blocks")
    return schedule.blocks.index(depth - 1)


def _regime_of(arrays: Arrays, source: str) -> Regime:
    regimes = possible_regimes(arrays)
    if regimes[0] == "parallel-adapter":
        raise ValueError(
            f"{source} does not say which adapters it has: regime (--regime) {' or '.join(regimes)}"
        )
    return regimes[0]


def _only(arrays: Arrays, submodel: Submodel) -> Arrays:
    """Return those of the arrays that a sub-model has."""
    names = (spec.name for spec in submodel.arrays())
    return {name: arrays[name] for name in names if name in arrays}

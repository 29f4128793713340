"""What becomes of a bundle's training steps when an update is applied to it?

The step of the update's own regime goes on from the new arrays: what it holds compiled are arrays
that the regime does not train, and these are as before. Steps of other regimes start from arrays
that are no more, and are left out.
"""

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from posixpath import normpath

from reefl_edge.bundles.artifacts import BundleFile
from reefl_edge.bundles.bundle import Bundle
from reefl_edge.bundles.training import TrainingSection, TrainingStep
from reefl_edge.checkpoints.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from reefl_edge.checkpoints.hashes import base_sha256
from reefl_edge.regimes import Regime
from reefl_edge.runtimes.onnx_graph import read_graph
from reefl_export.refill.filling import Filling, same_array
from reefl_export.refill.left_out import LeftOut
from reefl_export.refill.onnx import GRAPH_SUFFIX, hold_layout

Files = Mapping[str, BundleFile]


@dataclass(frozen=True, slots=True, kw_only=True)
class RefilledTraining:
    """What became of the training steps.

    Attributes:
        section: Those that are left; None for none.
        left_out: The others.
    """

    section: TrainingSection | None
    left_out: tuple[LeftOut, ...]


def training_start(bundle: Bundle, regime: Regime) -> Checkpoint | None:
    """Read what a bundle trains from under a regime, where inference holds something else.

    Raises:
        InputError: The file is missing or changed, or no checkpoint.
    """
    for step in _steps(bundle):
        if step.submodel.regime == regime and step.start is not None:
            path = step.start.verified(bundle.directory)
            return read_checkpoint(path, is_verified=True)
    return None


def refill_training(
    bundle: Bundle, regime: Regime, filling: Filling, folder: Path, written: Files
) -> RefilledTraining:
    """Write the training steps of a bundle that go on from other arrays.

    Args:
        bundle: The bundle.
        regime: The update's.
        filling: The arrays.
        folder: The folder of the new bundle.
        written: The files that lie in it already, by their paths.

    Raises:
        InputError: A file is missing or changed.
    """
    steps: list[TrainingStep] = []
    left_out: list[LeftOut] = []
    for step in _steps(bundle):
        if step.submodel.regime != regime:
            reason = f"it started from the weights before this {regime} update"
        elif (name := _folded_away(bundle, step, filling, written)) is not None:
            reason = f"it reads {name} from the weights of inference, where it is folded now"
        else:
            steps.append(_refilled(bundle, step, filling, folder, written))
            continue
        left_out.append(LeftOut(what=f"{step.submodel.regime} training", reason=reason))
    return RefilledTraining(
        section=TrainingSection(steps=tuple(steps)) if steps else None, left_out=tuple(left_out)
    )


def _steps(bundle: Bundle) -> tuple[TrainingStep, ...]:
    section = bundle.manifest.training
    return () if section is None else section.steps


def _folded_away(
    bundle: Bundle, step: TrainingStep, filling: Filling, written: Files
) -> str | None:
    """Return an array that a step reads from a file where it is folded now, if there is one."""
    trained, deployed = filling.trained.arrays, filling.deployed.arrays
    for path, name in _read(bundle, step):
        if path in written and name in trained and not same_array(trained[name], deployed[name]):
            return name
    return None


def _read(bundle: Bundle, step: TrainingStep) -> Iterator[tuple[str, str]]:
    """Give every array that the graphs of a step read: the file, by its path, and the name."""
    for artifact in step.artifacts:
        for file in artifact.files:
            graph = PurePosixPath(file.path)
            if graph.suffix == GRAPH_SUFFIX:
                for tensor in read_graph(file.verified(bundle.directory)).stored:
                    yield normpath(graph.parent / tensor.location), tensor.name


def _refilled(
    bundle: Bundle, step: TrainingStep, filling: Filling, folder: Path, written: Files
) -> TrainingStep:
    files = dict(written)
    for file in step.files():
        if file.path not in files:
            destination = folder / file.path
            destination.parent.mkdir(parents=True, exist_ok=True)
            if file == step.start:
                _write_start(file.verified(bundle.directory), destination, filling.trained)
            else:
                shutil.copyfile(file.verified(bundle.directory), destination)
            files[file.path] = BundleFile.of(folder, destination)
    return replace(
        step,
        base_sha256=base_sha256(filling.trained.arrays),
        start=None if step.start is None else files[step.start.path],
        artifacts=tuple(
            replace(artifact, files=tuple(files[file.path] for file in artifact.files))
            for artifact in step.artifacts
        ),
    )


def _write_start(source: Path, destination: Path, trained: Checkpoint) -> None:
    write_checkpoint(trained, destination)
    hold_layout(destination, source)

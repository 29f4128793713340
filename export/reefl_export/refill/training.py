"""What becomes of a bundle's training steps when an update is applied to it?

The step of the update's own regime goes on from the new arrays before folding: where inference
holds them folded, they go into the file of the step's start, and the graph reads them from there.
All else in the graph stays as it was exported, and a compiled program as a whole: it holds what the
regime does not train. Steps of other regimes start from arrays that are no more, and are left out.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from posixpath import relpath

from reefl_edge.array_files.safetensors import Entry, read_header
from reefl_edge.bundles.artifacts import BundleFile
from reefl_edge.bundles.bundle import Bundle
from reefl_edge.bundles.start import start_arrays, start_name, write_start
from reefl_edge.bundles.training import StepArtifact, TrainingSection, TrainingStep
from reefl_edge.checkpoints.hashes import base_sha256
from reefl_edge.checkpoints.update import Update
from reefl_edge.errors import InputError
from reefl_edge.files import write_bytes
from reefl_edge.regimes import Regime
from reefl_edge.runtimes.onnx_edit import with_places
from reefl_edge.runtimes.onnx_graph import StoredTensor, read_graph
from reefl_export.refill.filling import Filling
from reefl_export.refill.left_out import LeftOut
from reefl_export.refill.onnx import GRAPH_SUFFIX
from reefl_export.training import STEP_SUFFIXES


@dataclass(frozen=True, slots=True, kw_only=True)
class RefilledTraining:
    """What became of the training steps.

    Attributes:
        section: The one that is left; None for none.
        left_out: The others.
    """

    section: TrainingSection | None
    left_out: tuple[LeftOut, ...]


def step_of(bundle: Bundle, regime: Regime) -> TrainingStep | None:
    """Return the training step of a bundle for a regime; None if it has none."""
    return next((step for step in _steps(bundle) if step.submodel.regime == regime), None)


def refill_training(
    bundle: Bundle, update: Update, filling: Filling, folder: Path, weights: BundleFile
) -> RefilledTraining:
    """Write the training step of a bundle that goes on from other arrays.

    Args:
        bundle: The bundle.
        update: The update.
        filling: The arrays with it.
        folder: The folder of the new bundle.
        weights: The float32 weights of inference, which lie in it already.

    Raises:
        InputError: A file is missing or changed, or a graph reads what is no array of the model.
    """
    regime = update.submodel.regime
    step = step_of(bundle, regime)
    reason = f"it started from the weights before this {regime} update"
    left_out = [
        LeftOut(what=f"{each.submodel.regime} training", reason=reason)
        for each in _steps(bundle)
        if each != step
    ]
    if step is None:
        return RefilledTraining(section=None, left_out=tuple(left_out))
    artifacts = []
    for artifact in step.artifacts:
        if artifact.target == "onnx" or update.provenance.base_sha256 == step.base_sha256:
            artifacts.append(artifact)
        else:
            what = f"{regime} training in {artifact.target}"
            left_out.append(LeftOut(what=what, reason="its frozen weights are compiled, not these"))
    section = None
    if artifacts:
        kept = replace(step, artifacts=tuple(artifacts))
        section = TrainingSection(steps=(_refilled(bundle, kept, filling, folder, weights),))
    return RefilledTraining(section=section, left_out=tuple(left_out))


def _steps(bundle: Bundle) -> tuple[TrainingStep, ...]:
    section = bundle.manifest.training
    return () if section is None else section.steps


def _refilled(
    bundle: Bundle, step: TrainingStep, filling: Filling, folder: Path, weights: BundleFile
) -> TrainingStep:
    start = _written_start(step, filling, folder)
    own = () if start is None else (start,)
    places = {
        name: (file.path, entry)
        for file in (weights, *own)  # what is training's own comes before, as in ``read_start``
        for name, entry in read_header(folder / file.path).entries.items()
    }
    return replace(
        step,
        base_sha256=base_sha256(filling.trained.arrays),
        start=start,
        artifacts=tuple(
            replace(
                artifact,
                files=(*own, *_refilled_programs(bundle, artifact, folder, places), weights),
            )
            for artifact in step.artifacts
        ),
    )


def _written_start(step: TrainingStep, filling: Filling, folder: Path) -> BundleFile | None:
    """Write what training starts from and inference does not hold; None if there is nothing."""
    own = start_arrays(filling.trained, filling.deployed.arrays)
    if not own:
        return None
    path = folder / start_name(step.submodel.regime)
    write_start(filling.trained, own, path)
    return BundleFile.of(folder, path)


def _refilled_programs(
    bundle: Bundle,
    artifact: StepArtifact,
    folder: Path,
    places: Mapping[str, tuple[str, Entry]],
) -> Iterator[BundleFile]:
    """Write what computes a step: graphs read every array from where it lies now.

    A compiled program holds what it does not train, and is as it was.
    """
    for file in artifact.files:
        suffix = PurePosixPath(file.path).suffix
        if suffix not in STEP_SUFFIXES.values():  # arrays, which are written elsewhere
            continue
        source, destination = file.verified(bundle.directory), folder / file.path
        content = source.read_bytes()
        if suffix == GRAPH_SUFFIX:
            tensors = _tensors(source, PurePosixPath(file.path).parent, places)
            content = with_places(content, tensors)
        write_bytes(destination, content)
        yield BundleFile.of(folder, destination)


def _tensors(
    source: Path, folder: PurePosixPath, places: Mapping[str, tuple[str, Entry]]
) -> list[StoredTensor]:
    """Say of every tensor that a graph reads from other files where it lies now.

    Args:
        source: The graph.
        folder: Where it lies in its bundle.
        places: The file and the place of every array, by its name.
    """
    tensors = []
    for tensor in read_graph(source).stored:
        path, entry = places.get(tensor.name, ("", None))
        if entry is None or entry.length != tensor.length:
            raise InputError(
                f"{source} reads {tensor.name}, which is no array of the model; export the model "
                "again, with --update"
            )
        location = relpath(path, folder)
        tensors.append(StoredTensor(tensor.name, location, entry.offset, entry.length))
    return tensors

"""Is what lies in a bundle's folder what was exported, without running any of it?

Every file is held to its size and hash, and the manifest to the facts that each artifact carries.
Everything that is off is found, not only the first. Whether the artifacts *compute* what the
network computes is for ``recheck``.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import PurePosixPath
from typing import Literal, assert_never

from reefl_edge.bundles.artifacts import Artifact, BundleFile
from reefl_edge.bundles.bundle import Bundle
from reefl_edge.bundles.checkpoint import hold_to_checkpoint
from reefl_edge.bundles.manifest import MANIFEST_NAME, PARITY_NAME
from reefl_edge.bundles.start import read_start
from reefl_edge.bundles.training import TrainingStep
from reefl_edge.checkpoints.checkpoint import WEIGHTS_NAME, read_checkpoint
from reefl_edge.checkpoints.hashes import weights_sha256
from reefl_edge.errors import InputError, MissingToolchainError
from reefl_edge.extras import needs_extra
from reefl_edge.runtimes.onnx_graph import hold_graph, hold_step, step_graph

What = Literal["file", "facts", "weights"]
Result = Literal["holds", "differs", "not checked"]

# What opens an ExecuTorch program.
_PROGRAMS = ("opening an ExecuTorch program", ("torch", "executorch"), "executorch")


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was looked at.

    Attributes:
        subject: A file of the bundle, by its path in the folder, or an artifact.
        what: What was compared: a file with its size and hash, what an artifact says of its model,
            or its weights with the hash that the manifest gives them.
        result: Whether it is as it should be.
        detail: What is wrong, or why it was not checked; empty if it holds.
    """

    subject: str
    what: What
    result: Result
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeWith:
    """A package that made an artifact.

    Attributes:
        artifact: The artifact, ``FORMAT-PRECISION``.
        package: The package.
        version: The version that made it.
        installed: The version that is installed here; None for none. Running takes no toolchain.
    """

    artifact: str
    package: str
    version: str
    installed: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What was found in a bundle.

    Attributes:
        checks: Everything that was looked at.
        made_with: What made the artifacts.
        foreign_files: What lies in the folder and is not the bundle's, by its path.
    """

    checks: tuple[Check, ...]
    made_with: tuple[MadeWith, ...]
    foreign_files: tuple[str, ...]

    @property
    def problems(self) -> tuple[str, ...]:
        """What does not hold."""
        return tuple(check.detail for check in self.checks if check.result == "differs")


def verify(bundle: Bundle) -> Verification:
    """Hold the files of a bundle to its manifest, and the manifest to its artifacts.

    Only what holds as a file is opened: an ExecuTorch program needs executorch for it, a Core ML
    package coremltools. Nothing is run.
    """
    return Verification(
        checks=tuple(_checks(bundle)),
        made_with=tuple(
            MadeWith(
                artifact=artifact.name, package=package, version=made, installed=_installed(package)
            )
            for artifact in bundle.manifest.artifacts
            for package, made in artifact.toolchain.items()
        ),
        foreign_files=bundle.foreign_files(),
    )


def _checks(bundle: Bundle) -> Iterator[Check]:
    for artifact in bundle.manifest.artifacts:
        files = [_file(bundle, file) for file in artifact.files]
        yield from files
        if all(check.result == "holds" for check in files):
            yield from _contents(bundle, artifact)
        else:
            yield Check(
                subject=artifact.name,
                what="facts",
                result="not checked",
                detail="its files are not those that were exported",
            )
    if bundle.manifest.training is not None:
        seen = {file for artifact in bundle.manifest.artifacts for file in artifact.files}
        for file in dict.fromkeys(bundle.manifest.training.files()):
            if file not in seen:
                yield _file(bundle, file)
        for step in bundle.manifest.training.steps:
            yield from _training(bundle, step)
    if bundle.manifest.parity is not None:
        yield _file(bundle, bundle.manifest.parity)
    elif (bundle.directory / PARITY_NAME).exists():
        detail = "the manifest does not list it: it was exported before that was so"
        yield Check(subject=PARITY_NAME, what="file", result="not checked", detail=detail)


def _training(bundle: Bundle, step: TrainingStep) -> Iterator[Check]:
    """Hold the manifest to what computes a training step, and to what it starts from."""
    name = f"{step.submodel.regime} training"
    for artifact in step.artifacts:
        hold = _hold_step if artifact.target == "onnx" else _hold_step_program
        yield _check(f"{name}, {artifact.target}", "facts", partial(hold, bundle, step))
    yield _check(name, "weights", partial(read_start, bundle, step))


def _file(bundle: Bundle, file: BundleFile) -> Check:
    return _check(file.path, "file", partial(file.verified, bundle.directory))


def _contents(bundle: Bundle, artifact: Artifact) -> Iterator[Check]:
    """Open an artifact whose files are those that were exported."""
    match artifact.target:
        case "onnx":
            yield from _graphs(bundle, artifact)
        case "executorch":
            yield _check(artifact.name, "facts", partial(_hold_program, bundle, artifact))
        case "coreml":
            yield _check(artifact.name, "facts", partial(_hold_package, bundle, artifact))
        case _:
            assert_never(artifact.target)


def _graphs(bundle: Bundle, artifact: Artifact) -> Iterator[Check]:
    """Hold the manifest to every graph of an artifact: one per segment, and what else it lists."""
    needed = [f"{segment.name}.onnx" for segment in bundle.manifest.segments]
    listed = [PurePosixPath(file.path).name for file in artifact.files]
    graphs = (name for name in (*needed, *listed) if name.endswith(".onnx"))
    for name in dict.fromkeys(graphs):
        yield _check(
            f"{artifact.name}: {name}", "facts", partial(_hold_graph, bundle, artifact, name)
        )
    if artifact.precision == "fp32":
        subject = f"{artifact.name}: {WEIGHTS_NAME}"
        yield _check(subject, "weights", partial(_hold_weights, bundle, artifact))


def _hold_graph(bundle: Bundle, artifact: Artifact, name: str) -> None:
    hold_graph(bundle, artifact, bundle.file(artifact, name))


def _hold_step(bundle: Bundle, step: TrainingStep) -> None:
    artifact, path = step_graph(bundle, step)
    hold_step(bundle, step, artifact, path)


def _hold_weights(bundle: Bundle, artifact: Artifact) -> None:
    path = bundle.file(artifact, WEIGHTS_NAME)
    hold_to_checkpoint(bundle, path)
    said, found = bundle.manifest.weights_sha256, weights_sha256(read_checkpoint(path).arrays)
    if said != found:
        raise InputError(
            f"{bundle.directory / MANIFEST_NAME} says weights_sha256 {said[:12]}..., but those in "
            f"{path} have {found[:12]}...; export the bundle again"
        )


def _hold_program(bundle: Bundle, artifact: Artifact) -> None:
    with needs_extra(*_PROGRAMS):
        from reefl_edge.runtimes.executorch import hold_program
    hold_program(bundle, artifact, threads=1)


def _hold_step_program(bundle: Bundle, step: TrainingStep) -> None:
    with needs_extra(*_PROGRAMS):
        from reefl_edge.finetune.steppers.executorch import hold_step_program
    hold_step_program(bundle, step, threads=1)


def _hold_package(bundle: Bundle, artifact: Artifact) -> None:
    from reefl_export.coreml.mil.package import verified_package

    verified_package(bundle, artifact)


def _check(subject: str, what: What, hold: Callable[[], object]) -> Check:
    try:
        hold()
    except InputError as error:
        return Check(subject=subject, what=what, result="differs", detail=str(error))
    except MissingToolchainError as error:
        return Check(subject=subject, what=what, result="not checked", detail=str(error))
    return Check(subject=subject, what=what, result="holds")


def _installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None

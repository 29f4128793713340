"""Do the artifacts of a finished bundle compute what a network computes?"""

import logging
from collections.abc import Callable, Iterator, Mapping

from reefl_edge import schema
from reefl_edge.bundles.bundle import Bundle
from reefl_edge.bundles.manifest import PARITY_NAME
from reefl_edge.bundles.start import read_start
from reefl_edge.checkpoints.checkpoint import Checkpoint
from reefl_edge.errors import InputError
from reefl_edge.runtimes.base import default_threads
from reefl_edge.submodel import Submodel
from reefl_export.images import NamedImages
from reefl_export.parity.comparison import ParityReport, ParityRow, problems
from reefl_export.parity.gate import Gate
from reefl_export.parity.reference import Reference
from reefl_export.parity.step import StepRow, compare_step, step_problems
from reefl_export.recipe import recipe_for

_log = logging.getLogger(__name__)


def gates_of(bundle: Bundle) -> dict[str, Gate]:
    """Return what each artifact was held to when it was exported, by ``FORMAT-PRECISION``.

    Only a parity report that the manifest lists by its hash is believed; without one, an artifact
    is held to what the recipe that comes with this package says, and a warning is logged.

    Raises:
        InputError: The report is missing, or not the one that was exported.
    """
    stored: Mapping[str, Gate] = {}
    listed = bundle.manifest.parity
    if listed is not None:
        path = listed.verified(bundle.directory)
        stored = schema.read_json(ParityReport, path).gates
    elif (bundle.directory / PARITY_NAME).exists():
        _log.warning(
            "%s is not listed in the manifest, so its gates do not count: artifacts are held to "
            "those of the stock recipes",
            bundle.directory / PARITY_NAME,
        )
    return {
        artifact.name: stored.get(artifact.name)
        or recipe_for(artifact.target, artifact.precision).gate
        for artifact in bundle.manifest.artifacts
    }


def recheck(
    bundle: Bundle,
    checkpoint: Checkpoint,
    images: NamedImages,
    *,
    threshold: float | None,
    gates: Mapping[str, Gate],
    on_stage: Callable[[str], None] = lambda _: None,
) -> ParityReport:
    """Compare every artifact of a bundle with a network, and every training step with its own.

    Args:
        bundle: The bundle.
        checkpoint: The network's arrays.
        images: What to compare on.
        threshold: The confidence at which to stop; None for never.
        gates: What the rows will be held to, by artifact; ``failures`` holds them to it.
        on_stage: Called with the name of each artifact before it is compared.

    Raises:
        InputError: A file of an artifact is missing or changed, or the network is another one than
            the bundle's.
        MissingToolchainError: A runtime is not installed.
        ParityError: An artifact cannot be run.
        ValueError: The images do not fit the network.
    """
    _hold_together(bundle, checkpoint.submodel)
    reference = Reference.of_network(checkpoint, images, threshold, threads=default_threads())
    rows: list[ParityRow] = []
    for artifact in bundle.manifest.artifacts:
        on_stage(artifact.name)
        rows.extend(reference.rows(bundle, artifact))
    return reference.report(gates, rows, _step_rows(bundle, images, on_stage))


def _step_rows(
    bundle: Bundle, images: NamedImages, on_stage: Callable[[str], None]
) -> Iterator[StepRow]:
    """Compare every training step of a bundle with the network's, from where it starts."""
    training = bundle.manifest.training
    for step in () if training is None else training.steps:
        start = read_start(bundle, step)
        for artifact in step.artifacts:
            on_stage(f"{artifact.target} {step.submodel.regime} training")
            yield from compare_step(
                bundle, step, artifact.target, start, images, threads=default_threads()
            )


def _hold_together(bundle: Bundle, submodel: Submodel) -> None:
    exported = bundle.manifest.submodel
    is_same = (
        submodel.architecture == exported.architecture
        and submodel.schedule == exported.schedule
        and submodel.max_exit >= exported.max_exit
    )
    if not is_same:
        raise InputError(
            f"{bundle.directory} was exported from another model: sizes, exits or depth differ"
        )


def step_failures(report: ParityReport) -> dict[tuple[str, str], str]:
    """Return what is wrong with each array of a training step that is off, by artifact and name."""
    return {
        (row.artifact, row.array): problem
        for row in report.steps
        for problem in step_problems(row, report.max_gradient_error)
    }


def failures(report: ParityReport, *, is_trained: bool) -> dict[tuple[str, int], str]:
    """Return what is wrong with each row that fails its gate, by artifact and exit.

    Args:
        report: The rows and their gates.
        is_trained: The weights are trained, so that shares of agreement mean something.
    """
    return {
        (row.artifact, row.exit_index): "; ".join(found)
        for row in report.rows
        if (found := list(problems(row, report.gates[row.artifact], is_trained=is_trained)))
    }

"""Were reports measured on this model, or on one and the same, so that they mean something?"""

from collections.abc import Iterator, Mapping
from dataclasses import fields

from reefl_edge.checkpoints.checkpoint import Checkpoint
from reefl_edge.checkpoints.hashes import weights_sha256
from reefl_edge.profiling.report import RANDOM_WEIGHTS, Report
from reefl_edge.regimes import has_adapters
from reefl_edge.submodel import Architecture, Submodel


def check_model(report: Report, checkpoint: Checkpoint) -> None:
    """Refuse a report that was measured on another model.

    Args:
        report: What was measured; up to any exit of the model.
        checkpoint: The model, before an update is applied or an exit chosen. Its weights do not
            matter to a report of random ones: an architecture costs the same whatever it holds.

    Raises:
        ValueError: The architectures, the exits or the weights differ; in what.
    """
    measured, here = report.context.submodel, checkpoint.submodel
    differences = [*_differences(measured.architecture, here.architecture)]
    if measured.schedule != here.schedule:
        there, ours = measured.schedule.blocks, here.schedule.blocks
        differences.append(f"exit blocks {there}, not {ours}")
    if _adapters(measured) != _adapters(here):
        differences.append(f"{_adapters(measured)}, not {_adapters(here)}")
    if differences:
        raise ValueError(
            f"the report is of another model, {report.context.model}: {', '.join(differences)}"
        )
    if measured.max_exit > here.max_exit:
        raise ValueError(
            f"the report goes to exit {measured.max_exit}, the model only to exit {here.max_exit}"
        )
    if report.context.weights != RANDOM_WEIGHTS:
        _check_weights(report, checkpoint.cut(measured.max_exit))


def check_same_model(reports: Mapping[str, Report]) -> None:
    """Refuse reports that cannot be compared.

    Args:
        reports: By a name. How deep each goes, and which of them have random weights, does not
            matter.

    Raises:
        ValueError: There is none, or one is of another model than the first; in what.
    """
    if not reports:
        raise ValueError("there is no report")
    (first, reference), *others = reports.items()
    for name, report in others:
        there, ours = report.context.submodel, reference.context.submodel
        differences = [*_differences(there.architecture, ours.architecture)]
        if there.schedule != ours.schedule:
            differences.append(f"exit blocks {there.schedule.blocks}, not {ours.schedule.blocks}")
        weights = {report.context.weights, reference.context.weights} - {RANDOM_WEIGHTS}
        if len(weights) > 1 and there.max_exit == ours.max_exit:
            differences.append(
                f"weights {report.context.weights[:12]}, not {reference.context.weights[:12]}"
            )
        if differences:
            raise ValueError(f"{name} is of another model than {first}: {', '.join(differences)}")


def _differences(measured: Architecture, here: Architecture) -> Iterator[str]:
    """Name the sizes in which two architectures differ."""
    for name in (field.name for field in fields(measured)):
        there, ours = getattr(measured, name), getattr(here, name)
        if there != ours:
            yield f"{name} {there}, not {ours}"


def _adapters(submodel: Submodel) -> str:
    """Say which adapters a sub-model is deployed with."""
    regime = submodel.folded().regime
    return f"{regime}s" if has_adapters(regime) else "no adapters"


def _check_weights(report: Report, checkpoint: Checkpoint) -> None:
    measured, here = report.context.weights, weights_sha256(checkpoint.arrays)
    # A bundle holds what its checkpoint folds into.
    if measured not in (here, weights_sha256(checkpoint.folded().arrays)):
        raise ValueError(
            f"the report is of weights {measured[:12]}, but this model's are {here[:12]}; give the "
            "model that was profiled, or profile this one"
        )

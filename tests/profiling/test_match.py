"""Is a report told from one of another model?"""

from dataclasses import replace

import pytest

from reefl_edge.checkpoints.checkpoint import Checkpoint
from reefl_edge.checkpoints.hashes import weights_sha256
from reefl_edge.models.arrays import arrays_of, random_network
from reefl_edge.profiling.match import check_model
from reefl_edge.profiling.report import RANDOM_WEIGHTS, Report
from reefl_edge.submodel import ExitSchedule, Submodel
from tests.fakes.measurements import report, row
from tests.fakes.submodels import tiny_submodel

MODEL = tiny_submodel(num_exits=4)


def checkpoint(submodel: Submodel = MODEL, *, seed: int = 0) -> Checkpoint:
    return Checkpoint(submodel=submodel, arrays=arrays_of(random_network(submodel, seed=seed)))


def report_of(model: Checkpoint) -> Report:
    measured = report(row(0, 1.0))
    context = replace(
        measured.context, submodel=model.submodel, weights=weights_sha256(model.arrays)
    )
    return replace(measured, context=context)


def test_a_report_is_of_the_model_it_was_measured_on_and_of_no_other() -> None:
    check_model(report_of(checkpoint()), checkpoint())

    with pytest.raises(ValueError, match=r"of weights \w{12}, but this model's are \w{12}; give"):
        check_model(report_of(checkpoint(seed=1)), checkpoint())


def test_a_report_of_some_exits_is_of_the_whole_model_but_not_the_other_way_round() -> None:
    some = checkpoint().cut(1)

    check_model(report_of(some), checkpoint())
    check_model(report_of(some), checkpoint(MODEL.with_regime("frozen")))

    with pytest.raises(ValueError, match="goes to exit 3, the model only to exit 1"):
        check_model(report_of(checkpoint()), some)


def test_a_report_of_the_bundle_is_of_the_checkpoint_that_folds_into_it() -> None:
    adapted = checkpoint(MODEL.with_regime("lora"))

    check_model(report_of(adapted.folded()), adapted)
    check_model(report_of(adapted), adapted)


def test_random_weights_stand_for_any_of_their_architecture() -> None:
    measured = report(row(0, 1.0))
    assert measured.context.weights == RANDOM_WEIGHTS

    check_model(measured, checkpoint(seed=3))


@pytest.mark.parametrize(
    ("other", "difference"),
    [
        (tiny_submodel(num_exits=2), r"tiny: exit blocks \(0, 1, 2, 3\), not \(1, 3\)"),
        (
            replace(MODEL, architecture=replace(MODEL.architecture, width=32, num_classes=5)),
            "of another model, tiny: width 16, not 32, num_classes 3, not 5$",
        ),
        (
            replace(tiny_submodel(num_blocks=8), schedule=ExitSchedule((0, 1, 2, 3)), max_exit=3),
            "num_blocks 4, not 8$",
        ),
        (MODEL.with_regime("serial-adapter"), "tiny: no adapters, not serial-adapters$"),
    ],
)
def test_what_differs_is_named(other: Submodel, difference: str) -> None:
    with pytest.raises(ValueError, match=difference):
        check_model(report(row(0, 1.0)), checkpoint(other))

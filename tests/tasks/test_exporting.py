"""Does one call export what the command would: updated, cut, planned and compared?"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from reefl_edge.checkpoints.hashes import weights_sha256
from reefl_edge.checkpoints.update import write_update
from reefl_edge.data.dataset import ArrayDataset
from reefl_edge.errors import InputError
from reefl_edge.finetune.client import train_client
from reefl_edge.finetune.training import LocalTraining
from reefl_edge.profiling.report import Choice, Report, write_report
from reefl_edge.submodel import Submodel
from reefl_edge.tasks.exporting import ExportRequest, export_model, prepare_export
from reefl_edge.tasks.models import Model, open_model
from reefl_export.plan import ExportPlan
from tests.fakes.images import random_images
from tests.fakes.measurements import report as report_of
from tests.fakes.measurements import row

ONNX = ExportPlan.stock(["onnx"])


@pytest.fixture
def model(checkpoint_path: Path) -> Model:
    """The model on disk, opened."""
    return open_model(checkpoint_path)


@pytest.fixture
def report(submodel: Submodel) -> Report:
    """A report of a model like it, which chose its first exit."""
    measured = report_of(row(0, 1.0), row(1, 2.0))
    context = replace(measured.context, submodel=submodel)
    return replace(measured, context=context, choice=Choice(exit_index=0, reasons=()))


def test_an_export_is_updated_then_cut_where_the_report_chose(
    model: Model, report: Report, tiny_dataset: ArrayDataset, tmp_path: Path
) -> None:
    update = train_client(model.checkpoint, "frozen", tiny_dataset, LocalTraining()).update
    np.save(tmp_path / "images.npy", random_images(3))
    request = ExportRequest(
        plan=ONNX, update=update, report=report, threshold=0.7, data=tmp_path / "images.npy"
    )

    bundle = export_model(model, tmp_path / "bundle", request)

    expected = model.updated(update).cut(0).checkpoint
    assert bundle.manifest.submodel.max_exit == 0
    assert bundle.manifest.weights_sha256 == weights_sha256(expected.arrays)
    assert "images.npy" in (bundle.directory / "parity.json").read_text()


def test_files_say_the_same_as_what_was_read_from_them(
    model: Model, report: Report, tiny_dataset: ArrayDataset, tmp_path: Path
) -> None:
    update = train_client(model.checkpoint, "frozen", tiny_dataset, LocalTraining()).update
    write_update(update, tmp_path / "update.safetensors")
    write_report(report, tmp_path / "report.json")

    of_objects = prepare_export(model, ExportRequest(plan=ONNX, update=update, report=report))
    of_files = prepare_export(
        model,
        ExportRequest(
            plan=ONNX,
            update=tmp_path / "update.safetensors",
            report=str(tmp_path / "report.json"),
        ),
    )

    sub_models = [each.model.checkpoint.submodel for each in (of_objects, of_files)]
    hashes = [weights_sha256(each.model.checkpoint.arrays) for each in (of_objects, of_files)]
    assert sub_models[0] == sub_models[1]
    assert hashes[0] == hashes[1]


def test_a_report_that_says_nothing_of_the_model_is_a_wrong_argument_or_a_wrong_file(
    model: Model, report: Report, tmp_path: Path
) -> None:
    path = tmp_path / "report.json"
    write_report(replace(report, choice=None), path)

    with pytest.raises(ValueError, match="the report holds no choice"):
        prepare_export(model, ExportRequest(plan=ONNX, report=replace(report, choice=None)))
    with pytest.raises(InputError, match=r"report\.json: the report holds no choice"):
        prepare_export(model, ExportRequest(plan=ONNX, report=path))


def test_what_contradicts_itself_is_no_request(model: Model, report: Report) -> None:
    with pytest.raises(ValueError, match="give max_exit or report, not both"):
        ExportRequest(report=report, max_exit=0)
    with pytest.raises(ValueError, match="above 0 and at most 1"):
        ExportRequest(threshold=1.5)
    with pytest.raises(ValueError, match="no exit 2"):
        prepare_export(model, ExportRequest(plan=ONNX, max_exit=2))
    with pytest.raises(ValueError, match="needs images to find the ranges"):
        prepare_export(model, ExportRequest(plan=ExportPlan.stock(["onnx"], ["int8-static"])))


def test_a_device_plans_what_suits_it_and_is_remembered() -> None:
    plan = ExportPlan.for_device("rpi5", precisions=["fp32"])

    assert [recipe.name for recipe in plan.recipes] == ["onnx-fp32"]
    assert plan.deployment is not None
    assert plan.deployment.device == "rpi5"
    assert any("runs best" in reason for reason in plan.reasons)


def test_this_machine_is_not_remembered() -> None:
    assert ExportPlan.for_device("local").deployment is None

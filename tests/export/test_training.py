"""A bundle that trains: what of it is where, proven, cached, and taken from there."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from reefl_edge import schema
from reefl_edge.array_files.safetensors import read_safetensors
from reefl_edge.bundles.bundle import Bundle
from reefl_edge.bundles.start import read_start, read_trained
from reefl_edge.checkpoints.checkpoint import Checkpoint
from reefl_edge.checkpoints.hashes import base_sha256
from reefl_edge.errors import InputError, ParityError
from reefl_edge.finetune.steppers.onnx import OnnxStepper
from reefl_edge.models.arrays import arrays_of, random_network
from reefl_edge.regimes import Regime, is_adapter
from reefl_edge.runtimes.base import default_threads
from reefl_edge.tasks.parity import recheck_bundle
from reefl_export.bundle import Exported, Origin, export_checkpoint
from reefl_export.parity.comparison import ParityReport
from reefl_export.parity.step import StepRow, check_steps
from reefl_export.recipe import recipe_for, stock
from reefl_export.training import TrainingPlan
from reefl_export.verification import verify
from tests.fakes.submodels import tiny_submodel

PLAN = TrainingPlan(regimes=("frozen", "lora"), batch_size=2)


def checkpoint_of(regime: Regime = "full") -> Checkpoint:
    network = random_network(replace(tiny_submodel(num_blocks=2), regime=regime), seed=0)
    arrays = arrays_of(network)
    # LoRA starts at zero: as if it had learnt something.
    noise = np.random.default_rng(0)
    arrays |= {
        name: noise.normal(0, 0.1, array.shape).astype(np.float32)
        for name, array in arrays.items()
        if is_adapter(name)
    }
    return Checkpoint(submodel=network.submodel, arrays=arrays)


@pytest.fixture(scope="module")
def exported(cache_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REEFL_EDGE_HOME", str(cache_home))
        return export(checkpoint_of(), tmp_path_factory.mktemp("training") / "bundle")


def export(checkpoint: Checkpoint, folder: Path, plan: TrainingPlan = PLAN) -> Exported:
    return export_checkpoint(
        checkpoint, folder, stock(["onnx"]), Origin(name="tiny"), training=plan
    )


def test_a_step_reads_frozen_weights_where_inference_does(exported: Exported) -> None:
    frozen, lora = exported.bundle.manifest.training.steps  # type: ignore[union-attr]

    assert frozen.start is None
    assert [file.path for file in frozen.artifacts[0].files] == [
        "train_frozen.onnx",
        "onnx/weights.safetensors",
    ]
    assert lora.start is not None
    own = read_safetensors(exported.bundle.directory / lora.start.path)
    assert all(is_adapter(name) for name in own)
    assert (exported.bundle.directory / "train_lora.onnx").stat().st_size < 10**6
    assert not exported.bundle.foreign_files()


def test_every_array_has_a_row_in_the_report_that_holds(exported: Exported) -> None:
    steps = exported.bundle.manifest.training.steps  # type: ignore[union-attr]

    rows = {(row.regime, row.array) for row in exported.parity.steps}

    assert rows == {
        (step.submodel.regime, name)
        for step in steps
        for name in ["running_losses", *(spec.name for spec in step.submodel.trained_arrays())]
    }
    assert all(row.error_share <= 1e-4 for row in exported.parity.steps)


def test_a_step_that_is_off_is_refused_by_its_array() -> None:
    row = StepRow(
        target="onnx", regime="frozen", array="classifier.norm.bias", max_abs_error=0.1, largest=1.0
    )

    with pytest.raises(ParityError, match=r"step in classifier\.norm\.bias by 0\.1 of its largest"):
        check_steps([row])
    with pytest.raises(ParityError, match="a gradient is no finite number"):
        check_steps([replace(row, max_abs_error=float("nan"))])


def test_what_is_rechecked_and_verified_includes_training(exported: Exported) -> None:
    bundle = Bundle.open(exported.bundle.directory)

    rechecked, verification = recheck_bundle(bundle), verify(bundle)

    assert len(rechecked.report.steps) == len(exported.parity.steps)
    assert not rechecked.step_failures
    assert not verification.problems
    assert {("frozen training, onnx", "facts"), ("lora training", "weights")} <= {
        (check.subject, check.what) for check in verification.checks
    }


def test_the_same_training_is_exported_again_without_torch(
    exported: Exported, tmp_path: Path
) -> None:
    script = f"""
import sys
sys.modules["torch"] = None
from pathlib import Path
from reefl_edge.checkpoints.checkpoint import read_checkpoint
from reefl_export.bundle import Origin, export_checkpoint
from reefl_export.recipe import stock
from reefl_export.training import TrainingPlan
export_checkpoint(
    read_checkpoint(Path({str(exported.bundle.directory / "onnx" / "weights.safetensors")!r})),
    Path({str(tmp_path / "again")!r}), stock(["onnx"]), Origin(name="tiny"),
    training=TrainingPlan(regimes=("frozen", "lora"), batch_size=2),
)
"""
    subprocess.run([sys.executable, "-c", script], check=True)

    again = Bundle.open(tmp_path / "again")
    assert again.manifest.training == exported.bundle.manifest.training


def test_training_goes_on_from_unfolded_adapters(tmp_path: Path) -> None:
    checkpoint = checkpoint_of("lora")
    plan = TrainingPlan(regimes=("lora",), batch_size=2)

    bundle = export(checkpoint, tmp_path / "bundle", plan).bundle

    (step,) = bundle.manifest.training.steps  # type: ignore[union-attr]
    start = read_start(bundle, step)
    assert step.base_sha256 == base_sha256(checkpoint.arrays)
    assert start.arrays.keys() == checkpoint.arrays.keys()
    for name, array in checkpoint.arrays.items():
        np.testing.assert_array_equal(start.arrays[name], array)
    own = read_safetensors(bundle.directory / "training" / "lora.safetensors")
    folded = {name for name in own if not is_adapter(name)}
    assert folded == {f"blocks.{block}.attn.qkv.weight" for block in range(2)}


def test_without_float32_inference_training_brings_its_own_weights(tmp_path: Path) -> None:
    checkpoint = checkpoint_of()
    plan = TrainingPlan(regimes=("frozen",), batch_size=2)

    bundle = export_checkpoint(
        checkpoint,
        tmp_path / "bundle",
        [recipe_for("onnx", "fp16")],
        Origin(name="tiny"),
        training=plan,
    ).bundle

    (step,) = bundle.manifest.training.steps  # type: ignore[union-attr]
    trained = read_trained(bundle, step)
    for spec in step.submodel.trained_arrays():
        np.testing.assert_array_equal(trained[spec.name], checkpoint.arrays[spec.name])
    assert [file.path for file in step.artifacts[0].files] == [
        "training/frozen.safetensors",
        "train_frozen.onnx",
    ]


@pytest.mark.usefixtures("exported")  # so that it is in the cache
def test_a_step_that_was_changed_is_not_loaded(tmp_path: Path) -> None:
    bundle = export(checkpoint_of(), tmp_path / "bundle").bundle
    frozen, lora = bundle.manifest.training.steps  # type: ignore[union-attr]

    for path, step in (("onnx/weights.safetensors", frozen), ("train_lora.onnx", lora)):
        content = (bundle.directory / path).read_bytes()
        (bundle.directory / path).write_bytes(content[:-1] + b"?")
        with pytest.raises(InputError, match=f"{path} is not the file that was exported"):
            OnnxStepper.open(bundle, step, threads=default_threads())
        (bundle.directory / path).write_bytes(content)


def test_a_graph_of_another_regime_is_not_loaded(exported: Exported) -> None:
    bundle = exported.bundle
    frozen, lora = bundle.manifest.training.steps  # type: ignore[union-attr]
    swapped = replace(frozen, artifacts=lora.artifacts)

    with pytest.raises(InputError, match=r"says submodel\.regime 'frozen', but train_lora\.onnx"):
        OnnxStepper.open(bundle, swapped, threads=default_threads())


def test_a_report_without_steps_reads_as_before(exported: Exported) -> None:
    document = schema.to_dict(exported.parity)
    del document["steps"], document["max_gradient_error"]

    read = schema.from_json(ParityReport, json.dumps(document), source="report")
    assert read.steps == ()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"regimes": ()}, "needs a regime and a format"),
        ({"regimes": ("full", "full")}, "full is listed more than once"),
        ({"batch_size": 0}, "from 1 to 4096 images, got 0"),
        ({"targets": ("coreml",)}, "no training step is compiled to coreml; choose onnx"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(PLAN, **changes)  # type: ignore[arg-type]

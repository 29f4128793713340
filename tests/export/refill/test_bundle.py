"""A bundle after an update: the one that an export of the updated model would be."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from reefl_edge import schema
from reefl_edge.bundles.artifacts import BundleFile
from reefl_edge.bundles.bundle import Bundle
from reefl_edge.bundles.thresholds import Certificate, Promise
from reefl_edge.checkpoints.checkpoint import Checkpoint, read_checkpoint
from reefl_edge.checkpoints.hashes import weights_sha256
from reefl_edge.checkpoints.update import apply_update
from reefl_edge.errors import DivergenceError, InputError, ParityError
from reefl_edge.models.arrays import network_from
from reefl_edge.regimes import Regime
from reefl_edge.runtimes.base import default_threads
from reefl_edge.runtimes.eager import EagerRuntime
from reefl_edge.runtimes.opening import open_runtime
from reefl_export.bundle import Origin, export_checkpoint
from reefl_export.parity.comparison import ParityReport, chain_logits
from reefl_export.parity.gate import Gate
from reefl_export.recipe import stock
from reefl_export.refill.bundle import refill_bundle
from reefl_export.verification import verify
from tests.export.refill.exports import CALIBRATION, exported
from tests.export.refill.updates import update_of
from tests.fakes.images import random_images

ORIGIN = Origin(name="tiny")


def contents(bundle: Bundle) -> dict[str, bytes]:
    """Return every file of a bundle's artifacts."""
    files = [file for artifact in bundle.manifest.artifacts for file in artifact.files]
    return {file.path: file.verified(bundle.directory).read_bytes() for file in files}


@pytest.mark.parametrize("regime", ["full", "frozen", "lora", "ssf"])
def test_it_is_byte_for_byte_what_an_export_makes(
    regime: Regime, checkpoint: Checkpoint, onnx_bundle: Bundle, tmp_path: Path
) -> None:
    update = update_of(checkpoint, regime)

    refilled = refill_bundle(onnx_bundle, update, tmp_path / "new", images=CALIBRATION)

    anew = exported(apply_update(checkpoint, update), tmp_path / "anew")
    assert contents(refilled.bundle) == contents(anew)
    assert refilled.left_out == ()
    said, expected = refilled.bundle.manifest, anew.manifest
    assert said.weights_sha256 == expected.weights_sha256
    assert said.thresholds == expected.thresholds
    assert Bundle.open(tmp_path / "new").manifest == said


def test_without_typical_images_int8_static_is_left_out_and_said_so(
    checkpoint: Checkpoint, onnx_bundle: Bundle, tmp_path: Path
) -> None:
    refilled = refill_bundle(onnx_bundle, update_of(checkpoint, "frozen"), tmp_path / "new")

    manifest = refilled.bundle.manifest
    assert [each.name for each in manifest.artifacts] == [
        "onnx-fp32", "onnx-fp16", "onnx-int8-dynamic",
    ]  # fmt: skip
    assert [each.artifact for each in manifest.thresholds] == [
        "onnx-fp32", "onnx-fp16", "onnx-int8-dynamic",
    ]  # fmt: skip
    assert [each.what for each in refilled.left_out] == ["onnx-int8-static"]
    assert "--calibration" in refilled.left_out[0].reason
    assert verify(refilled.bundle).problems == ()
    assert verify(refilled.bundle).foreign_files == ()


def test_what_other_formats_hold_compiled_is_left_out(
    checkpoint: Checkpoint, bundle: Bundle, tmp_path: Path
) -> None:
    refilled = refill_bundle(bundle, update_of(checkpoint, "lora"), tmp_path / "new")

    assert {each.what for each in refilled.left_out} == {"executorch-fp32", "coreml-fp32"}
    assert [each.name for each in refilled.bundle.manifest.artifacts] == ["onnx-fp32"]
    assert {path.name for path in (tmp_path / "new").iterdir()} == {
        "manifest.json", "parity.json", "onnx",
    }  # fmt: skip


def test_the_report_says_what_the_other_precisions_were_held_to(
    checkpoint: Checkpoint, onnx_bundle: Bundle, tmp_path: Path
) -> None:
    refilled = refill_bundle(onnx_bundle, update_of(checkpoint, "frozen"), tmp_path / "new")

    report = schema.read_json(ParityReport, tmp_path / "new" / "parity.json")
    assert report == refilled.parity
    assert report.reference == "onnx-fp32"
    assert {row.artifact for row in report.rows} == {"onnx-fp16", "onnx-int8-dynamic"}
    assert report.gates.keys() == {"onnx-fp32", "onnx-fp16", "onnx-int8-dynamic"}
    assert all(row.max_abs_error > 0 for row in report.rows)


def test_the_network_agrees_with_the_new_bundle(
    checkpoint: Checkpoint, onnx_bundle: Bundle, tmp_path: Path
) -> None:
    update = update_of(checkpoint, "lora")

    refilled = refill_bundle(onnx_bundle, update, tmp_path / "new").bundle

    images = random_images(4)
    trained = apply_update(checkpoint, update)
    network = EagerRuntime(
        network_from(trained.submodel, trained.arrays), threads=default_threads()
    )
    expected = chain_logits(network, images, num_exits=2)
    found, before = (
        chain_logits(open_runtime("onnx", each, precision="fp32"), images, num_exits=2)
        for each in (refilled, onnx_bundle)
    )
    for exit_index in range(2):
        np.testing.assert_allclose(found[exit_index], expected[exit_index], atol=1e-4)
        assert np.abs(found[exit_index] - before[exit_index]).max() > 0.01


def test_an_artifact_that_is_off_stops_it_and_nothing_is_written(
    checkpoint: Checkpoint, onnx_bundle: Bundle, tmp_path: Path
) -> None:
    update = update_of(checkpoint, "frozen")
    steep = np.full((3, 16), 1e6, np.float32)
    huge = replace(update, arrays={**update.arrays, "classifier.linear.weight": steep})

    with pytest.raises(ParityError, match=r"fp16 differs .* at exit 0"), np.errstate(over="ignore"):
        refill_bundle(onnx_bundle, huge, tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("regime", ["parallel-adapter", "serial-adapter"])
def test_adapters_that_do_not_fold_need_a_bundle_that_has_them(
    regime: Regime, checkpoint: Checkpoint, onnx_bundle: Bundle, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=f"brings adapters of regime '{regime}'.*--update"):
        refill_bundle(onnx_bundle, update_of(checkpoint, regime), tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


def test_adapters_go_into_a_bundle_that_was_exported_with_them(
    checkpoint: Checkpoint, tmp_path: Path
) -> None:
    adapted = apply_update(checkpoint, update_of(checkpoint, "serial-adapter"))
    before = export_checkpoint(adapted, tmp_path / "before", stock(["onnx"]), ORIGIN).bundle
    update = update_of(adapted, "serial-adapter", seed=2)

    refilled = refill_bundle(before, update, tmp_path / "new").bundle

    after = apply_update(adapted, update)
    anew = export_checkpoint(after, tmp_path / "anew", stock(["onnx"]), ORIGIN).bundle
    assert contents(refilled) == contents(anew)
    with pytest.raises(InputError, match="the update does not fit: the model has adapters"):
        refill_bundle(before, update_of(checkpoint, "frozen"), tmp_path / "other")


def test_a_shallower_update_goes_into_a_deeper_bundle_but_not_the_other_way(
    checkpoint: Checkpoint, onnx_bundle: Bundle, tmp_path: Path
) -> None:
    shallow = update_of(checkpoint, "lora", max_exit=0)
    refilled = refill_bundle(onnx_bundle, shallow, tmp_path / "new").bundle

    stored = read_checkpoint(tmp_path / "new" / "onnx" / "weights.safetensors")
    assert stored.submodel == checkpoint.submodel
    assert refilled.manifest.weights_sha256 == weights_sha256(stored.arrays)
    cut = export_checkpoint(checkpoint.cut(0), tmp_path / "cut", stock(["onnx"]), ORIGIN).bundle
    with pytest.raises(InputError, match="the update goes to exit 1, the model only to exit 0"):
        refill_bundle(cut, update_of(checkpoint, "frozen"), tmp_path / "other")


def test_an_update_of_other_weights_is_refused_by_both_hashes(
    checkpoint: Checkpoint, onnx_bundle: Bundle, tmp_path: Path
) -> None:
    update = update_of(checkpoint, "lora")
    foreign = replace(update, provenance=replace(update.provenance, base_sha256="ab" * 32))
    held = onnx_bundle.manifest.weights_sha256[:12]

    with pytest.raises(InputError, match=f"from weights abababababab, but this model's are {held}"):
        refill_bundle(onnx_bundle, foreign, tmp_path / "new")


def test_arrays_that_leave_the_finite_numbers_when_they_are_folded_are_refused(
    checkpoint: Checkpoint, onnx_bundle: Bundle, tmp_path: Path
) -> None:
    update = update_of(checkpoint, "lora")
    factors = {
        name: np.full_like(array, 1e30) if ".lora_q." in name else array
        for name, array in update.arrays.items()
    }

    with (
        pytest.raises(DivergenceError, match=r"qkv\.weight holds NaN or infinity once"),
        np.errstate(over="ignore"),
    ):
        refill_bundle(onnx_bundle, replace(update, arrays=factors), tmp_path / "new")


def test_a_bundle_without_float32_weights_is_refused(
    checkpoint: Checkpoint, tmp_path: Path
) -> None:
    recipes = [replace(each, gate=Gate()) for each in stock(["onnx"], ["int8-dynamic"])]
    small = export_checkpoint(checkpoint, tmp_path / "small", recipes, ORIGIN).bundle

    with pytest.raises(InputError, match=r"small holds no float32 weights .* with --update"):
        refill_bundle(small, update_of(checkpoint, "full"), tmp_path / "new")


@pytest.mark.parametrize("path", ["onnx/weights.safetensors", "onnx-fp16/segment_1.onnx"])
def test_a_damaged_bundle_is_refused_and_nothing_is_written(
    path: str, checkpoint: Checkpoint, onnx_bundle: Bundle, tmp_path: Path
) -> None:
    shutil.copytree(onnx_bundle.directory, tmp_path / "bundle")
    content = bytearray((tmp_path / "bundle" / path).read_bytes())
    content[-20] ^= 1
    (tmp_path / "bundle" / path).write_bytes(content)

    with pytest.raises(InputError, match=f"{path} is not the file that was exported"):
        refill_bundle(
            Bundle.open(tmp_path / "bundle"), update_of(checkpoint, "lora"), tmp_path / "new"
        )
    assert [each.name for each in tmp_path.iterdir()] == ["bundle"]


def test_a_graph_that_does_not_read_an_array_is_refused(
    checkpoint: Checkpoint, onnx_bundle: Bundle, tmp_path: Path
) -> None:
    shutil.copytree(onnx_bundle.directory, tmp_path / "bundle")
    (artifact, *_) = onnx_bundle.manifest.artifacts
    (graph,) = (file for file in artifact.files if file.path == "onnx/segment_0.onnx")
    path = tmp_path / "bundle" / graph.path
    path.write_bytes(path.read_bytes().replace(b"cls_token", b"cls_taken"))
    edited = replace(
        artifact,
        files=tuple(
            BundleFile.of(tmp_path / "bundle", path) if file == graph else file
            for file in artifact.files
        ),
    )
    manifest = replace(onnx_bundle.manifest, artifacts=(edited,), thresholds=())

    with pytest.raises(InputError, match="does not read cls_taken from its place in weights"):
        refill_bundle(
            Bundle(tmp_path / "bundle", manifest), update_of(checkpoint, "lora"), tmp_path / "new"
        )


def test_only_nothing_or_a_bundle_is_replaced(
    checkpoint: Checkpoint, onnx_bundle: Bundle, tmp_path: Path
) -> None:
    update = update_of(checkpoint, "frozen")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("mine")

    refill_bundle(onnx_bundle, update, tmp_path / "new")
    again = refill_bundle(onnx_bundle, update, tmp_path / "new")

    assert verify(again.bundle).problems == ()
    with pytest.raises(InputError, match=r"holds thesis\.txt"):
        refill_bundle(onnx_bundle, update, tmp_path / "mine")


def test_a_certificate_of_the_weights_before_stays_and_says_so(
    checkpoint: Checkpoint, onnx_bundle: Bundle, tmp_path: Path
) -> None:
    manifest = onnx_bundle.manifest
    certificate = Certificate(
        promise=Promise(kind="max-drop", limit=1.0, confidence=0.95),
        bound="binomial",
        num_images=500,
        images_sha256="0" * 64,
        weights_sha256=manifest.weights_sha256,
        artifact_sha256=manifest.artifacts[0].sha256,
    )
    entry = manifest.entry_for(manifest.artifacts[0])
    assert entry is not None
    promised = manifest.with_entry(entry.certified(certificate))

    refilled = refill_bundle(
        Bundle(onnx_bundle.directory, promised), update_of(checkpoint, "frozen"), tmp_path / "new"
    ).bundle.manifest

    assert list(promised.foreign_certificates()) == []
    (told,) = refilled.foreign_certificates()
    assert told.startswith(f"the thresholds of {manifest.artifacts[0].name} were certified for")
    assert refilled.thresholds_for(refilled.artifacts[0]) == (0.8,)

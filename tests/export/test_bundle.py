"""Exporting a bundle, opening it, and running it."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from reefl_edge import schema
from reefl_edge.adaptive import AdaptiveSession, ConfidencePolicy
from reefl_edge.bundles.artifacts import TARGETS, Target
from reefl_edge.bundles.bundle import Bundle
from reefl_edge.checkpoints.checkpoint import Checkpoint, read_checkpoint
from reefl_edge.checkpoints.metadata import RandomPart
from reefl_edge.errors import InputError, ParityError
from reefl_edge.models.arrays import network_from
from reefl_edge.runtimes.base import RuntimeName
from reefl_export import export_bundle
from reefl_export.bundle import Origin, export_checkpoint
from reefl_export.parity.comparison import ParityReport
from reefl_export.parity.gate import Gate
from reefl_export.recipe import recipe_for, stock
from tests.fakes.images import random_images

RUNTIMES: tuple[RuntimeName, ...] = ("onnx", "executorch", "eager")


def copy_of(bundle: Bundle, folder: Path) -> Path:
    return Path(shutil.copytree(bundle.directory, folder / "copy"))


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("max_exit", [0, 1])
def test_every_exit_of_every_runtime_gives_the_logits_of_the_network(
    bundle: Bundle, checkpoint: Checkpoint, runtime: RuntimeName, max_exit: int
) -> None:
    images = random_images(5)
    stop_at = ConfidencePolicy((1e-6,)) if max_exit == 0 else ConfidencePolicy((1.0,))
    eager = AdaptiveSession.open(bundle, runtime="eager", policy=stop_at)

    prediction = AdaptiveSession.open(bundle, runtime=runtime, policy=stop_at).predict(images)

    assert prediction.exit_indices.tolist() == [max_exit] * 5
    np.testing.assert_allclose(prediction.logits, eager.predict(images).logits, atol=1e-5)
    # The eager session is itself held to the training network.
    network = network_from(checkpoint.submodel, checkpoint.arrays)
    pixels = images.astype(np.float32) / 255
    architecture = checkpoint.submodel.architecture
    normalised = (pixels - architecture.mean) / architecture.std
    import torch

    with torch.inference_mode():
        logits = network(torch.from_numpy(normalised.transpose(0, 3, 1, 2)).float())
    np.testing.assert_allclose(prediction.logits, logits[max_exit], atol=1e-5)


def test_the_manifest_says_what_a_runtime_must_know(bundle: Bundle) -> None:
    manifest = Bundle.open(bundle.directory).manifest

    assert manifest.name == "tiny"
    assert manifest.class_names == ("a", "b", "c")
    assert [manifest.thresholds_for(artifact) for artifact in manifest.artifacts] == [(0.8,)] * 3
    assert [segment.name for segment in manifest.segments] == ["segment_0", "segment_1"]
    assert [spec.name for spec in manifest.segments[0].inputs] == ["images"]
    assert manifest.segments[0].inputs[0].shape == ("batch", 16, 16, 3)
    assert manifest.segments[1].inputs[1].shape == ("batch", 1, 16)  # keys after one block
    assert [spec.name for spec in manifest.segments[1].outputs] == ["logits"]
    assert {artifact.target for artifact in manifest.artifacts} == {"executorch", "onnx", "coreml"}
    for artifact in manifest.artifacts:
        assert artifact.toolchain["torch"].startswith("2.")
        assert all(len(file.sha256) == 64 for file in artifact.files)


def test_the_onnx_graphs_have_the_names_of_the_manifest_and_share_one_weights_file(
    bundle: Bundle, checkpoint: Checkpoint
) -> None:
    for segment in bundle.manifest.segments:
        model = onnx.load(
            bundle.directory / "onnx" / f"{segment.name}.onnx", load_external_data=False
        )
        onnx.checker.check_model(bundle.directory / "onnx" / f"{segment.name}.onnx")
        assert model.ir_version <= 10
        assert [value.name for value in model.graph.input] == [s.name for s in segment.inputs]
        assert [value.name for value in model.graph.output] == [s.name for s in segment.outputs]
        external = [
            tensor
            for tensor in model.graph.initializer
            if tensor.data_location == onnx.TensorProto.EXTERNAL
        ]
        assert {tensor.name for tensor in external} <= checkpoint.arrays.keys()
        assert sum(np.prod(tensor.dims) for tensor in external) > 0.9 * 16 * 16 * 12


def test_every_onnx_graph_says_what_it_is(bundle: Bundle) -> None:
    for path in sorted((bundle.directory / "onnx").glob("*.onnx")):
        model = onnx.load(path, load_external_data=False)
        (facts,) = (prop.value for prop in model.metadata_props if prop.key == "reefl_edge")
        assert json.loads(facts).keys() == {"submodel", "class_names"}


def test_the_weights_of_a_bundle_are_a_checkpoint(bundle: Bundle, checkpoint: Checkpoint) -> None:
    stored = read_checkpoint(bundle.directory / "onnx" / "weights.safetensors")

    assert stored.submodel == checkpoint.submodel
    for name, array in checkpoint.arrays.items():
        np.testing.assert_array_equal(stored.arrays[name], array)


def test_parity_rows_stand_for_every_exit_of_every_format(bundle: Bundle) -> None:
    rows = json.loads((bundle.directory / "parity.json").read_text())["rows"]

    assert {(row["target"], row["exit_index"]) for row in rows} == {
        (target, exit_index) for target in TARGETS for exit_index in (0, 1)
    }
    assert all(row["max_abs_error"] <= 1e-4 and row["top1_agreement"] == 1 for row in rows)


def test_an_export_gives_the_report_that_it_writes(checkpoint: Checkpoint, tmp_path: Path) -> None:
    origin = Origin(name="tiny", threshold=0.8)

    exported = export_checkpoint(checkpoint, tmp_path / "bundle", stock(["onnx"]), origin)

    written = schema.read_json(ParityReport, exported.bundle.directory / "parity.json")
    assert exported.parity == written
    assert Bundle.open(tmp_path / "bundle") == exported.bundle


def test_a_cached_artifact_does_not_go_on_saying_what_is_random(
    checkpoint: Checkpoint, tmp_path: Path
) -> None:
    said = {}
    called_random: tuple[RandomPart, ...] = ("nothing", "everything", "nothing")
    for random in called_random:
        called = replace(checkpoint, random=random)
        bundle = export_checkpoint(
            called, tmp_path / random, stock(["onnx"]), Origin(name="tiny")
        ).bundle
        stored = read_checkpoint(bundle.directory / "onnx" / "weights.safetensors")
        said[random] = (stored.random, bundle.manifest.has_random_weights)

    assert said == {"nothing": ("nothing", False), "everything": ("everything", True)}


def test_a_bundle_that_fails_parity_is_not_written(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REEFL_EDGE_HOME", str(tmp_path / "empty-cache"))
    unmeetable = replace(recipe_for("onnx"), gate=Gate(max_abs_error=0.0))

    with pytest.raises(ParityError):
        export_checkpoint(checkpoint, tmp_path / "bundle", [unmeetable], Origin(name="tiny"))

    assert not (tmp_path / "bundle").exists()
    assert not list(tmp_path.glob(".*"))


def test_an_unchanged_export_comes_from_the_cache_without_torch(
    bundle: Bundle, cache_home: Path, tmp_path: Path
) -> None:
    weights = bundle.directory / "onnx" / "weights.safetensors"
    script = (
        "import sys; from pathlib import Path\n"
        "from reefl_edge.checkpoints.checkpoint import read_checkpoint\n"
        "from reefl_export.bundle import Origin, export_checkpoint\n"
        "from reefl_export.recipe import stock\n"
        f"export_checkpoint(read_checkpoint(Path({str(weights)!r})), Path({str(tmp_path / 'b')!r}),"
        " stock(), Origin(name='again', threshold=0.8))\n"
        "assert 'torch' not in sys.modules\n"
    )
    environment = {"REEFL_EDGE_HOME": str(cache_home), "PATH": ""}

    subprocess.run([sys.executable, "-c", script], check=True, env=environment)

    again, first = Bundle.open(tmp_path / "b").manifest, bundle.manifest
    assert again.artifacts == first.artifacts
    assert again.name == "again"


def test_progress_counts_the_artifacts(checkpoint: Checkpoint, tmp_path: Path) -> None:
    counted: list[tuple[int, int]] = []

    export_checkpoint(
        checkpoint,
        tmp_path / "b",
        stock(["onnx"], ["fp32", "fp16"]),
        Origin(name="tiny"),
        on_artifact=lambda done, total: counted.append((done, total)),
    )

    assert counted == [(0, 2), (1, 2), (2, 2)]


def test_another_threshold_compiles_nothing(
    bundle: Bundle, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    stages: list[str] = []

    exported = export_checkpoint(
        checkpoint,
        tmp_path / "b",
        stock(["onnx"]),
        Origin(name="tiny", threshold=0.3),
        on_stage=stages.append,
    )

    assert stages[0] == "ONNX fp32: unchanged, taken from the cache"
    assert exported.bundle.manifest.artifacts == (bundle.artifact("onnx"),)
    assert exported.bundle.manifest.common_threshold == exported.parity.threshold == 0.3


def test_other_weights_are_exported_anew(
    bundle: Bundle, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    bias = "classifier.linear.bias"
    changed = {**checkpoint.arrays, bias: checkpoint.arrays[bias] + 1}
    other = replace(checkpoint, arrays=changed)

    exported = export_checkpoint(
        other, tmp_path / "other", stock(["onnx"]), Origin(name="tiny")
    ).bundle

    images = random_images(2)
    before, after = (AdaptiveSession.open(b).predict(images) for b in (bundle, exported))
    np.testing.assert_allclose(after.logits - before.logits, 1, atol=1e-4)


def test_export_bundle_takes_a_network(checkpoint: Checkpoint, tmp_path: Path) -> None:
    network = network_from(checkpoint.submodel, checkpoint.arrays)

    exported = export_bundle(network, tmp_path / "bundle", formats=("onnx",))

    assert exported.manifest.class_names == ("0", "1", "2")
    assert exported.manifest.submodel == checkpoint.submodel


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_changed_file_is_refused(bundle: Bundle, runtime: RuntimeName, tmp_path: Path) -> None:
    folder = copy_of(bundle, tmp_path)
    name = "model.pte" if runtime == "executorch" else "onnx/weights.safetensors"
    content = bytearray((folder / name).read_bytes())
    content[-1] ^= 1
    (folder / name).write_bytes(content)

    with pytest.raises(InputError, match="its hash differs"):
        AdaptiveSession.open(folder, runtime=runtime)


def test_a_missing_file_is_named(bundle: Bundle, tmp_path: Path) -> None:
    folder = copy_of(bundle, tmp_path)
    (folder / "onnx" / "segment_1.onnx").unlink()

    with pytest.raises(InputError, match=r"onnx/segment_1\.onnx is missing"):
        AdaptiveSession.open(folder)


def test_a_path_that_leads_out_of_the_bundle_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    folder = copy_of(bundle, tmp_path)
    text = (folder / "manifest.json").read_text()
    (folder / "manifest.json").write_text(text.replace("onnx/segment_0.onnx", "../segment_0.onnx"))

    with pytest.raises(InputError, match="leads out of"):
        AdaptiveSession.open(folder)


def test_a_manifest_from_a_newer_version_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    folder = copy_of(bundle, tmp_path)
    document = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**document, "schema_version": 99}))

    with pytest.raises(InputError, match="schema version 99, newer than 3"):
        Bundle.open(folder)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("class_names", ["a"], "1 class names for 3 classes"),
        ("segments", [], "the segments are not those of the sub-model"),
        ("weights_sha256", None, "weights_sha256: Input should be a valid string"),
    ],
)
def test_a_damaged_manifest_says_what_is_wrong(
    bundle: Bundle, tmp_path: Path, key: str, value: object, message: str
) -> None:
    folder = copy_of(bundle, tmp_path)
    document = {**schema.to_dict(bundle.manifest), key: value}
    (folder / "manifest.json").write_text(json.dumps(document))

    with pytest.raises(InputError, match=message):
        Bundle.open(folder)


def test_a_folder_without_a_manifest_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"is not a bundle: it has no manifest\.json"):
        Bundle.open(tmp_path)


def test_a_format_the_bundle_lacks_is_named(checkpoint: Checkpoint, tmp_path: Path) -> None:
    formats: tuple[Target, ...] = ("onnx",)
    exported = export_checkpoint(
        checkpoint, tmp_path / "b", stock(formats), Origin(name="tiny")
    ).bundle

    with pytest.raises(InputError, match="has no executorch artifact, only onnx-fp32"):
        AdaptiveSession.open(exported, runtime="executorch")


def test_a_folder_that_is_something_else_is_not_overwritten(
    checkpoint: Checkpoint, tmp_path: Path
) -> None:
    (tmp_path / "thesis.txt").write_text("mine")

    with pytest.raises(InputError, match=r"holds thesis\.txt, which is no file of a bundle"):
        export_checkpoint(checkpoint, tmp_path, stock(["onnx"]), Origin(name="tiny"))

    assert (tmp_path / "thesis.txt").read_text() == "mine"

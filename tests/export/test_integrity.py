"""Bundles that were edited or damaged: what a manifest, a hash and the artifacts give away."""

import json
import re
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from reefl_edge import schema
from reefl_edge.adaptive import AdaptiveSession
from reefl_edge.bundles.artifacts import BundleFile, Target
from reefl_edge.bundles.bundle import Bundle
from reefl_edge.bundles.thresholds import same_threshold
from reefl_edge.checkpoints.checkpoint import Checkpoint
from reefl_edge.errors import InputError
from reefl_edge.models.arrays import network_from
from reefl_edge.runtimes import executorch
from reefl_edge.runtimes.base import RuntimeName
from reefl_edge.runtimes.eager import EagerRuntime
from reefl_edge.runtimes.opening import open_runtime
from reefl_export.coreml.mil import MilRuntime
from tests.fakes.images import random_images

RUNTIMES: tuple[RuntimeName, ...] = ("onnx", "executorch", "eager")


def copy_of(bundle: Bundle, folder: Path) -> Path:
    return Path(shutil.copytree(bundle.directory, folder / "copy"))


def rewrite(folder: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    """Change a bundle's manifest."""
    document = json.loads((folder / "manifest.json").read_text())
    edit(document)
    (folder / "manifest.json").write_text(json.dumps(document))


def edited(bundle: Bundle, folder: Path, edit: Callable[[dict[str, Any]], object]) -> Path:
    """Return a copy of a bundle with another manifest."""
    copy = copy_of(bundle, folder)
    rewrite(copy, edit)
    return copy


def open_core_ml(bundle: Bundle) -> MilRuntime:
    segments = bundle.manifest.submodel.segments()
    return MilRuntime.open(bundle, bundle.artifact("coreml"), segments, threads=1)


def replaced(bundle: Bundle, folder: Path, name: str, change: Callable[[bytes], bytes]) -> Path:
    """Return a copy of a bundle with another file, hashed anew."""
    copy = copy_of(bundle, folder)
    (copy / name).write_bytes(change((copy / name).read_bytes()))
    described = schema.to_dict(BundleFile.of(copy, copy / name))

    def hash_anew(document: dict[str, Any]) -> None:
        for artifact in document["artifacts"]:
            for file in artifact["files"]:
                if file["path"] == name:
                    file.update(described)

    rewrite(copy, hash_anew)
    return copy


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("threads", [0, 1000, 10**20])
def test_more_threads_than_cores_are_refused(
    bundle: Bundle, runtime: RuntimeName, threads: int
) -> None:
    with pytest.raises(ValueError, match=f"threads must be from 1 to .*, got {threads}"):
        AdaptiveSession.open(bundle, runtime=runtime, threads=threads)


def test_a_network_in_memory_takes_no_more_threads_than_cores(checkpoint: Checkpoint) -> None:
    network = network_from(checkpoint.submodel, checkpoint.arrays)

    with pytest.raises(ValueError, match=r"threads must be from 1 to .*, got 1000"):
        EagerRuntime(network, threads=1000)


def _permute_classes(document: dict[str, Any]) -> None:
    document["class_names"] = ["b", "a", "c"]


def _brighten(document: dict[str, Any]) -> None:
    document["submodel"]["architecture"]["mean"] = [0.5, 0.4, 0.9]


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (_permute_classes, r"says class_names\.0 'b', but .* was exported with 'a'"),
        (_brighten, r"says submodel\.architecture\.mean\.2 0\.9, but .* was exported with 0\.3"),
    ],
)
def test_a_manifest_that_was_edited_alone_is_refused_by_every_runtime(
    bundle: Bundle,
    runtime: RuntimeName,
    edit: Callable[[dict[str, Any]], None],
    message: str,
    tmp_path: Path,
) -> None:
    folder = edited(bundle, tmp_path, edit)

    with pytest.raises(InputError, match=message):
        AdaptiveSession.open(folder, runtime=runtime)


def test_a_core_ml_package_is_held_to_the_manifest(bundle: Bundle, tmp_path: Path) -> None:
    opened = Bundle.open(edited(bundle, tmp_path, _permute_classes))

    with pytest.raises(InputError, match=r"class_names\.0 'b', but coreml/model\.mlpackage was"):
        open_core_ml(opened)


def test_a_bundle_of_before_the_parity_report_was_listed_still_runs(
    bundle: Bundle, tmp_path: Path
) -> None:
    folder = edited(bundle, tmp_path, lambda document: document.pop("parity"))

    for runtime in RUNTIMES:
        AdaptiveSession.open(folder, runtime=runtime).predict(random_images(1))


@pytest.mark.parametrize(
    ("runtime", "unlisted", "message"),
    [
        ("onnx", "onnx/segment_1.onnx", r"lists no segment_1\.onnx for onnx-fp32"),
        ("onnx", "onnx/weights.safetensors", r"reads 'weights\.safetensors', which .* not list"),
        ("eager", "onnx/weights.safetensors", r"lists no weights\.safetensors for onnx-fp32"),
        ("executorch", "model.pte", r"lists no model\.pte for executorch-fp32"),
    ],
)
def test_a_file_that_is_read_must_be_listed(
    bundle: Bundle, runtime: RuntimeName, unlisted: str, message: str, tmp_path: Path
) -> None:
    def unlist(document: dict[str, Any]) -> None:
        for artifact in document["artifacts"]:
            for file in artifact["files"]:
                if file["path"] == unlisted:
                    file["path"] = "another"
        shutil.copy(folder / unlisted, folder / "another")

    folder = copy_of(bundle, tmp_path)
    rewrite(folder, unlist)

    with pytest.raises(InputError, match=message):
        AdaptiveSession.open(folder, runtime=runtime)


@pytest.mark.parametrize("part", ["Manifest.json", "model.mlmodel", "weight.bin"])
def test_every_part_of_a_core_ml_package_must_be_listed(
    bundle: Bundle, part: str, tmp_path: Path
) -> None:
    def unlist(document: dict[str, Any]) -> None:
        artifact = next(each for each in document["artifacts"] if each["target"] == "coreml")
        artifact["files"] = [each for each in artifact["files"] if Path(each["path"]).name != part]

    opened = Bundle.open(edited(bundle, tmp_path, unlist))

    with pytest.raises(InputError, match=f"lists no {part} for coreml-fp32"):
        MilRuntime.open(
            opened, opened.artifact("coreml"), opened.manifest.submodel.segments(), threads=1
        )


@pytest.mark.parametrize(
    ("part", "damage"),
    [
        ("Data/com.apple.CoreML/model.mlmodel", lambda content: content[:1000]),
        ("Manifest.json", lambda content: content.replace(b'"path"', b'"p\xffth"')),
        ("Manifest.json", lambda content: content.replace(b"model.mlmodel", b"model.nothing")),
        (
            "Manifest.json",
            lambda content: re.sub(rb'("rootModelIdentifier": ")[^"]*', rb"\1nobody", content),
        ),
    ],
    ids=["cut", "no text", "a missing file", "no model"],
)
def test_a_damaged_core_ml_package_with_a_new_hash_is_an_input_error(
    bundle: Bundle, part: str, damage: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    path = f"coreml/model.mlpackage/{part}"
    opened = Bundle.open(replaced(bundle, tmp_path, path, damage))

    with pytest.raises(InputError, match=r"coremltools cannot read .*model\.mlpackage: "):
        MilRuntime.open(
            opened, opened.artifact("coreml"), opened.manifest.submodel.segments(), threads=1
        )


def test_graphs_that_changed_places_are_told_apart(bundle: Bundle, tmp_path: Path) -> None:
    def swap(document: dict[str, Any]) -> None:
        (artifact,) = (each for each in document["artifacts"] if each["target"] == "onnx")
        first, second, *_ = artifact["files"]
        first["path"], second["path"] = second["path"], first["path"]

    folder = edited(bundle, tmp_path, swap)
    first, second = (folder / "onnx" / f"segment_{index}.onnx" for index in (0, 1))
    first.rename(folder / "first")
    second.rename(first)
    (folder / "first").rename(second)

    with pytest.raises(InputError, match=r"segment_0\.onnx is not the graph of segment_0"):
        AdaptiveSession.open(folder)


def test_what_fails_while_a_segment_runs_is_an_input_error(bundle: Bundle) -> None:
    runtime = open_runtime("onnx", bundle)
    tokens = np.zeros((1, 7, 16), np.float32)  # two more than there are
    keys = np.zeros((1, 1, 16), np.float32)

    with pytest.raises(InputError, match=r"onnxruntime \S+ cannot run segment_1: .*tokens") as said:
        runtime.run(1, (tokens, keys, keys))

    assert "\n" not in str(said.value)
    with pytest.raises(InputError, match="ExecuTorch cannot run segment_1: "):
        open_runtime("executorch", bundle).run(1, (tokens, keys, keys))
    core_ml = open_core_ml(bundle)
    with pytest.raises(InputError, match="the check of Core ML programs cannot run segment_1: "):
        core_ml.run(1, (tokens, keys, keys))
    with pytest.raises(InputError, match=r"PyTorch \S+ cannot run segment_1: .*size"):
        open_runtime("eager", bundle).run(1, (tokens[:, :, :15], keys, keys))


def test_only_what_is_read_is_held_to_its_hash(bundle: Bundle, tmp_path: Path) -> None:
    folder = copy_of(bundle, tmp_path)
    (folder / "onnx" / "segment_1.onnx").unlink()
    opened = Bundle.open(folder)

    open_runtime("onnx", opened, max_exit=0).run(0, (random_images(1),))
    with pytest.raises(InputError, match=r"onnx/segment_1\.onnx is missing"):
        open_runtime("onnx", opened)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_session_stops_where_the_artifact_that_it_loads_does(
    bundle: Bundle, runtime: RuntimeName
) -> None:
    targets: tuple[Target, ...] = ("onnx", "executorch")
    onnx, executorch = map(bundle.artifact, targets)
    own = (*same_threshold((onnx,), 0.3), *same_threshold((executorch,), 0.6))
    told = Bundle(bundle.directory, replace(bundle.manifest, thresholds=own))
    untold = Bundle(bundle.directory, replace(bundle.manifest, thresholds=()))

    session = AdaptiveSession.open(told, runtime=runtime)

    assert session.policy.thresholds == ((0.6,) if runtime == "executorch" else (0.3,))
    assert AdaptiveSession.open(untold, runtime=runtime).policy.thresholds == (1.0,)


def test_a_bundle_of_version_2_still_runs_at_its_threshold(bundle: Bundle, tmp_path: Path) -> None:
    def as_version_2(document: dict[str, Any]) -> None:
        del document["thresholds"], document["training"]
        document.update(schema_version=2, threshold=0.4)

    folder = edited(bundle, tmp_path, as_version_2)

    for runtime in RUNTIMES:
        session = AdaptiveSession.open(folder, runtime=runtime)
        assert session.policy.thresholds == (0.4,)
        session.predict(random_images(1))


def test_a_program_without_the_methods_of_its_batch_sizes_is_refused(
    bundle: Bundle, tmp_path: Path
) -> None:
    def promise(document: dict[str, Any]) -> None:
        artifact = next(each for each in document["artifacts"] if each["target"] == "executorch")
        artifact["batch_sizes"] = [1, 16]

    with pytest.raises(InputError, match="has no segment_0_batch_16, segment_1_batch_16"):
        AdaptiveSession.open(edited(bundle, tmp_path, promise), runtime="executorch")


def test_a_method_keeps_what_it_reads_when_its_program_is_gone(bundle: Bundle) -> None:
    expected = open_runtime("executorch", bundle).run(0, (random_images(1),))
    listed = bundle.listed(bundle.artifact("executorch", "fp32"), executorch.PROGRAM_NAME)

    _, program = executorch.open_program(bundle, listed, threads=1)
    method = program.load_method("segment_0")
    del program
    _in_its_place = [b"\xff" * listed.size_bytes for _ in range(8)]
    found = method.execute([torch.from_numpy(random_images(1))])

    for array, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(array.numpy(), other)


def test_a_program_that_takes_the_place_of_the_hashed_one_is_not_loaded(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(bundle.directory, folder)
    expected = open_runtime("executorch", bundle).run(0, (random_images(1),))
    original = executorch.load_program

    def load_late(source: Path, head: bytes, path: Path, *, threads: int) -> Any:
        path.unlink()
        path.write_bytes(b"another program")
        return original(source, head, path, threads=threads)

    monkeypatch.setattr(executorch, "load_program", load_late)

    found = open_runtime("executorch", Bundle.open(folder)).run(0, (random_images(1),))

    for array, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(array, other)


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[: len(content) // 2],
        lambda content: content[:0],
        lambda content: b"x" * len(content),
        # Another format's first bytes, with which ExecuTorch ends the process.
        lambda content: b"PK\x03\x04" * 4 + content[16:],
        # The name of a method is no UTF-8.
        lambda content: content.replace(b"segment_0", b"segment_\xff"),
        # What the program holds for its facts is no UTF-8, or no JSON.
        lambda content: content.replace(b"class_names", b"class_nam\xffs"),
        lambda content: content.replace(b'"class_names"', b"'class_names'"),
    ],
)
def test_a_damaged_program_with_a_new_hash_is_an_input_error(
    bundle: Bundle, tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    folder = replaced(bundle, tmp_path, "model.pte", damage)

    with pytest.raises(InputError, match=r"model\.pte"):
        AdaptiveSession.open(folder, runtime="executorch")


def test_programs_are_verified_before_their_pointers_are_followed(
    bundle: Bundle, tmp_path: Path
) -> None:
    """A program whose first pointer leads astray ends the process where it is not verified."""

    def lead_astray(content: bytes) -> bytes:
        (root,) = struct.unpack_from("<I", content)
        astray = struct.pack("<i", -0x70000000)
        return content[:root] + astray + content[root + len(astray) :]

    folder = replaced(bundle, tmp_path, "model.pte", lead_astray)
    script = (
        "from reefl_edge import AdaptiveSession\n"
        "from reefl_edge.errors import InputError\n"
        "try:\n"
        f"    AdaptiveSession.open({str(folder)!r}, runtime='executorch')\n"
        "except InputError as error:\n"
        "    print(error)\n"
    )

    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)

    assert said.returncode == 0, said.stderr
    assert "model.pte: Failed to load program" in said.stdout

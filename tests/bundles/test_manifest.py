"""Manifests that say what cannot be, and files that are not what a manifest lists."""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reefl_edge import schema
from reefl_edge.bundles.artifacts import Artifact, BundleFile
from reefl_edge.bundles.bundle import Bundle
from reefl_edge.bundles.manifest import Deployment, Manifest, signatures
from reefl_edge.bundles.thresholds import Certificate, Promise, PromiseKind, same_threshold
from reefl_edge.errors import InputError
from tests.fakes.bundles import listed_artifact, listed_file, tiny_manifest
from tests.fakes.submodels import tiny_submodel


def manifest() -> Manifest:
    described = tiny_manifest(
        listed_artifact("onnx", "onnx/segment_0.onnx", "onnx/segment_1.onnx"),
        listed_artifact("executorch", "model.pte"),
        listed_artifact("coreml", "coreml/model.mlpackage/Manifest.json"),
    )
    return replace(
        described,
        deployment=Deployment(device="rpi5", threads=4),
        parity=listed_file("parity.json"),
    )


def put(document: Any, path: Sequence[str | int], value: object) -> None:
    """Set a value inside a JSON document."""
    *parents, last = path
    for key in parents:
        document = document[key]
    document[last] = value


def write(folder: Path, document: Any) -> Path:
    (folder / "manifest.json").write_text(json.dumps(document))
    return folder


def test_a_manifest_reads_as_it_was_written(tmp_path: Path) -> None:
    assert Bundle.open(write(tmp_path, schema.to_dict(manifest()))).manifest == manifest()


def test_a_manifest_of_before_the_parity_report_was_listed_still_opens(tmp_path: Path) -> None:
    document = schema.to_dict(manifest())
    del document["parity"]

    assert Bundle.open(write(tmp_path, document)).manifest.parity is None


ENTRY = ("thresholds", 0)
FILE = ("artifacts", 0, "files", 0)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("artifacts", 0, "files"), [], "onnx-fp32 lists no files"),
        (("artifacts", 0, "batch_sizes"), [1], "onnx takes any batch"),
        (("artifacts", 1, "batch_sizes"), [], "executorch takes fixed batch_sizes"),
        (("artifacts", 1, "batch_sizes"), [0], "batch sizes must be at least 1"),
        (("artifacts", 1, "batch_sizes"), [-1], "batch sizes must be at least 1"),
        (("artifacts", 1, "batch_sizes"), [1, 0], "batch sizes must be at least 1"),
        (("artifacts", 1, "batch_sizes"), [4], "must hold 1"),
        (("artifacts", 1, "batch_sizes"), [1, 1], "each size once"),
        (("artifacts", 2, "batch_sizes"), [1, 4], "coreml takes one image"),
        (("artifacts", 2, "precision"), "int8-static", "coreml does not come in int8-static"),
        ((*FILE, "size_bytes"), -1, "a size is at least 0 bytes, got -1"),
        ((*FILE, "sha256"), "abc", "'abc' is no SHA-256"),
        ((*FILE, "sha256"), "G" * 64, "is no SHA-256"),
        ((*FILE, "path"), "", "is no path of a file"),
        ((*FILE, "path"), ".", "is no path of a file"),
        ((*FILE, "path"), "onnx/a\0b", "is no path of a file"),
        ((*FILE, "path"), "/etc/passwd", "leads out of the bundle"),
        ((*FILE, "path"), "onnx/../../up", "leads out of the bundle"),
        ((*FILE, "path"), r"..\up", "leads out of the bundle"),
        ((*FILE, "path"), "C:/up", "leads out of the bundle"),
        ((*FILE, "path"), "onnx/segment_1.onnx", "onnx/segment_1.onnx is listed more than once"),
        (("weights_sha256",), "", "the weights: '' is no SHA-256"),
        ((*ENTRY, "thresholds", 0), 0, "a threshold must be above 0 and at most 1, got 0"),
        ((*ENTRY, "thresholds", 0), 1.5, "a threshold must be above 0 and at most 1, got 1.5"),
        ((*ENTRY, "thresholds", 0), float("nan"), "not a JSON file"),
        ((*ENTRY, "thresholds"), [], "thresholds of onnx-fp32: there are none"),
        ((*ENTRY, "thresholds"), [0.5, 0.5], "2 thresholds for 2 exits: give one"),
        ((*ENTRY, "measure"), "loudness", "measure: Input should be 'largest-softmax'"),
        ((*ENTRY, "precision"), "fp16", "thresholds of onnx-fp16, which is not among the artif"),
        ((*ENTRY, "target"), "coreml", "thresholds of coreml-fp32 is listed more than once"),
        (("deployment", "threads"), 0, "threads must be from 1 to 1024, got 0"),
        (("deployment", "threads"), 10**6, "threads must be from 1 to 1024, got 1000000"),
        (("deployment", "threads"), 10**20, "threads"),
        (("parity", "path"), "other.json", "the parity report is parity.json, got 'other.json'"),
    ],
)
def test_what_cannot_be_is_refused_by_name(
    tmp_path: Path, path: Sequence[str | int], value: object, message: str
) -> None:
    document = schema.to_dict(manifest())
    put(document, path, value)

    with pytest.raises(InputError, match=r"manifest\.json") as refused:
        Bundle.open(write(tmp_path, document))

    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_manifest_without_artifacts_is_refused(tmp_path: Path) -> None:
    document = {**schema.to_dict(manifest()), "artifacts": [], "thresholds": []}

    with pytest.raises(InputError, match="lists no artifacts; export the bundle again"):
        Bundle.open(write(tmp_path, document))


def test_two_artifacts_of_a_format_and_precision_are_refused(tmp_path: Path) -> None:
    document = schema.to_dict(manifest())
    document["artifacts"].append(document["artifacts"][0])

    with pytest.raises(InputError, match="onnx-fp32 is listed more than once"):
        Bundle.open(write(tmp_path, document))


def _change_a_byte(path: Path) -> None:
    path.write_bytes(b"contenT")


def _append(path: Path) -> None:
    path.write_bytes(b"content and more")


def _remove(path: Path) -> None:
    path.unlink()


def _loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def _link_out(path: Path) -> None:
    path.rename(path.parents[1] / "outside")
    path.symlink_to(path.parents[1] / "outside")


def _fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.skipif(os.name == "nt", reason="links and FIFOs are Unix's")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_change_a_byte, "its hash differs"),
        (_append, "it has 16 bytes, not 7"),
        (_remove, "bundle is incomplete: weights is missing"),
        (_loop, "too many levels of symbolic links"),
        (_link_out, "leads out of"),
        (_fifo, "is no regular file"),
        (_folder, "is a folder"),
    ],
)
def test_a_file_that_is_not_what_is_listed_is_refused(
    tmp_path: Path, change: Callable[[Path], None], message: str
) -> None:
    root = tmp_path / "bundle"
    root.mkdir()
    path = root / "weights"
    path.write_bytes(b"content")
    file = BundleFile.of(root, path)
    assert file.sha256 == hashlib.sha256(b"content").hexdigest()
    assert file.verified(root) == path

    change(path)

    with pytest.raises(InputError, match=message):
        file.verified(root)


def test_a_file_that_is_read_must_be_listed_once_and_be_what_was_exported(tmp_path: Path) -> None:
    path = tmp_path / "onnx" / "segment_0.onnx"
    path.parent.mkdir()
    path.write_bytes(b"graph")
    graph = BundleFile.of(tmp_path, path)
    bundle = Bundle(tmp_path, manifest())
    onnx = replace(bundle.artifact("onnx"), files=(graph, replace(graph, path="segment_0.onnx")))

    assert bundle.file(replace(onnx, files=(graph,)), "segment_0.onnx") == path
    with pytest.raises(InputError, match=r"lists no weights\.safetensors for onnx-fp32"):
        bundle.file(onnx, "weights.safetensors")
    with pytest.raises(InputError, match=r"lists 2 segment_0\.onnx for onnx-fp32"):
        bundle.file(onnx, "segment_0.onnx")
    path.write_bytes(b"grape")
    with pytest.raises(InputError, match="its hash differs"):
        bundle.file(replace(onnx, files=(graph,)), "segment_0.onnx")


def test_a_file_that_two_read_is_listed_the_same_twice() -> None:
    shared = listed_file("onnx/weights.safetensors")
    other = replace(shared, size_bytes=2)
    fp32 = replace(listed_artifact("onnx"), files=(shared,))

    tiny_manifest(fp32, replace(fp32, precision="fp16"))
    with pytest.raises(ValueError, match=r"onnx/weights\.safetensors is listed with two sizes or"):
        tiny_manifest(fp32, replace(fp32, precision="fp16", files=(other,)))


def test_every_artifact_stops_by_thresholds_of_its_own_and_without_any_never_early() -> None:
    fp32 = listed_artifact("onnx")
    int8, pte = replace(fp32, precision="int8-dynamic"), listed_artifact("executorch")
    described = replace(
        tiny_manifest(fp32, int8, pte),
        thresholds=(*same_threshold((fp32,), 0.8), *same_threshold((int8,), 0.9)),
    )

    found = [described.thresholds_for(artifact) for artifact in (fp32, int8, pte)]

    assert found == [(0.8,), (0.9,), (1.0,)]
    assert described.common_threshold is None
    assert tiny_manifest(fp32, int8).common_threshold == 0.8
    assert replace(described, thresholds=()).common_threshold is None


def test_thresholds_may_differ_by_exit_and_keep_a_promise() -> None:
    onnx = listed_artifact("onnx")
    (entry,) = same_threshold((onnx,), 0.9)
    entry = replace(
        entry, thresholds=(0.9, 0.8, 1.0), measure="margin", temperatures=(1.5, 1.2, 1.1, 0.9)
    ).certified(certificate_for(onnx))
    submodel = tiny_submodel(num_exits=4)
    described = replace(
        tiny_manifest(onnx), submodel=submodel, segments=signatures(submodel), thresholds=(entry,)
    )

    read = schema.from_json(Manifest, schema.to_json(described), source="manifest")

    assert read == described
    assert read.thresholds_for(read.artifacts[0]) == (0.9, 0.8, 1.0)
    assert read.common_threshold is None
    assert list(read.foreign_certificates()) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"thresholds": (0.8,)},
        {"measure": "margin"},
        {"temperatures": (1.0, 2.0)},
        {"precision": "fp16"},
        {"sha256": "0" * 64},
        {"sha256": None},
    ],
)
def test_an_entry_that_was_edited_after_it_was_certified_is_refused(
    changes: dict[str, Any],
) -> None:
    (entry,) = same_threshold((listed_artifact("onnx"),), 0.9)
    certified = entry.certified(certificate_for(listed_artifact("onnx")))

    with pytest.raises(ValueError, match="edited after they were certified: put back what stood"):
        replace(certified, **changes)
    assert replace(certified, certificate=None, sha256=None) == entry


def test_a_certificate_of_other_weights_or_files_is_told() -> None:
    onnx = listed_artifact("onnx")
    (entry,) = same_threshold((onnx,), 0.9)
    described = replace(tiny_manifest(onnx), thresholds=(entry.certified(certificate_for(onnx)),))
    retrained = replace(described, weights_sha256="1" * 64)
    exported_again = replace(
        described, artifacts=(replace(onnx, files=(listed_file("onnx/segment_1.onnx"),)),)
    )

    assert list(described.foreign_certificates()) == []
    (of_weights,) = retrained.foreign_certificates()
    assert of_weights == (
        "the thresholds of onnx-fp32 were certified for weights 000000000000, not 111111111111"
    )
    (of_files,) = exported_again.foreign_certificates()
    assert of_files.endswith("certified for files of onnx-fp32 that have been replaced")


def test_an_entry_takes_the_place_of_the_one_before_in_the_order_of_artifacts() -> None:
    onnx, pte = listed_artifact("onnx"), listed_artifact("executorch")
    described = tiny_manifest(onnx, pte)
    (entry,) = same_threshold((onnx,), 0.9)

    changed = described.with_entry(entry)

    assert [each.thresholds for each in changed.thresholds] == [(0.9,), (0.8,)]
    assert changed.entry_for(pte) == described.entry_for(pte)


def test_stops_by_anything_but_the_largest_probability_have_no_common_threshold() -> None:
    described = tiny_manifest(listed_artifact("onnx"))
    (entry,) = described.thresholds

    assert (
        replace(described, thresholds=(replace(entry, measure="margin"),)).common_threshold is None
    )
    tempered = replace(entry, temperatures=(2.0, 1.0))
    assert replace(described, thresholds=(tempered,)).common_threshold is None


def test_as_many_temperatures_and_times_are_needed_as_exits() -> None:
    described = tiny_manifest(listed_artifact("onnx"))
    (entry,) = described.thresholds
    timed = replace(
        certificate_for(described.artifacts[0]),
        promise=Promise(kind="max-mean-ms", limit=3.0, confidence=0.95),
        exit_ms=(1.0, 2.0, 3.0),
    )

    with pytest.raises(ValueError, match="1 temperatures for 2 exits: give one per exit, or none"):
        replace(described, thresholds=(replace(entry, temperatures=(2.0,)),))
    with pytest.raises(ValueError, match="3 times for 2 exits"):
        replace(described, thresholds=(entry.certified(timed),))


def certificate_for(artifact: Artifact) -> Certificate:
    """Return a certificate for an artifact of ``tiny_manifest``."""
    return Certificate(
        promise=Promise(kind="max-drop", limit=1.0, confidence=0.95),
        bound="binomial",
        num_images=500,
        images_sha256="0" * 64,
        weights_sha256="0" * 64,
        artifact_sha256=artifact.sha256,
    )


@pytest.mark.parametrize(
    ("kind", "limit", "confidence", "message"),
    [
        ("max-drop", 0.0, 0.95, "max-drop is above 0 and below 100 points of accuracy, got 0"),
        ("max-drop", 100.0, 0.95, "below 100 points of accuracy, got 100"),
        ("max-drop", float("nan"), 0.95, "got nan"),
        ("max-disagreement", 1.0, 0.95, "above 0 and below 1 of all answers, got 1"),
        (
            "max-mean-ms",
            float("inf"),
            0.95,
            "max-mean-ms is above 0 and finite, got inf",
        ),
        ("max-drop", 1.0, 1.0, "lies between 0 and 1, got 1"),
        ("max-drop", 1.0, 0.0, "lies between 0 and 1, got 0"),
    ],
)
def test_a_promise_that_cannot_be_is_refused(
    kind: PromiseKind, limit: float, confidence: float, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Promise(kind=kind, limit=limit, confidence=confidence)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_images": 0}, "at least 1 image, got 0"),
        ({"images_sha256": "abc"}, "the images of a certificate: 'abc' is no SHA-256"),
        ({"artifact_sha256": "abc"}, "the artifact of a certificate: 'abc' is no SHA-256"),
        ({"exit_ms": (1.0, 2.0)}, "belongs to a promise of time, and to no other"),
        ({"exit_ms": (0.0, 2.0)}, "an exit takes some time"),
    ],
)
def test_a_certificate_that_cannot_be_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(certificate_for(listed_artifact("onnx")), **changes)


def test_foreign_files_are_those_that_no_manifest_of_ours_lists(tmp_path: Path) -> None:
    bundle = Bundle(tmp_path, manifest())
    own = ("manifest.json", "parity.json", "model.pte", "onnx/segment_0.onnx")
    foreign = ("thesis.txt", "onnx/notes.md", "other/deep/file")
    for name in (*own, *foreign):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")

    assert bundle.foreign_files() == tuple(sorted(foreign))

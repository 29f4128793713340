"""Holding a manifest to what an artifact says: two exits, three classes."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reefl_edge import schema
from reefl_edge.bundles.bundle import Bundle
from reefl_edge.bundles.facts import facts_of, hold_to_artifact
from reefl_edge.bundles.manifest import Manifest, signatures
from reefl_edge.bundles.thresholds import same_threshold
from reefl_edge.errors import InputError
from tests.fakes.bundles import listed_artifact, tiny_manifest
from tests.fakes.submodels import TINY_ARCHITECTURE, tiny_submodel

SUBMODEL = tiny_submodel()
MANIFEST = tiny_manifest()
STATED = schema.to_json(facts_of(MANIFEST))


def hold(manifest: Manifest, stated: str | None = STATED) -> None:
    hold_to_artifact(Bundle(Path("b"), manifest), stated, Path("b", "onnx", "segment_0.onnx"))


def with_architecture(**changes: Any) -> Manifest:
    submodel = replace(SUBMODEL, architecture=replace(TINY_ARCHITECTURE, **changes))
    return replace(MANIFEST, submodel=submodel, segments=signatures(submodel))


def test_an_unchanged_manifest_holds() -> None:
    hold(MANIFEST)


@pytest.mark.parametrize(
    ("edited", "message"),
    [
        (
            replace(MANIFEST, class_names=("b", "a", "c")),
            "b/manifest.json says class_names.0 'b', but onnx/segment_0.onnx was exported with 'a'",
        ),
        (
            with_architecture(mean=(0.5, 0.4, 0.9)),
            "says submodel.architecture.mean.2 0.9, but onnx/segment_0.onnx was exported with 0.3",
        ),
        (with_architecture(std=(0.1, 0.25, 0.3)), "says submodel.architecture.std.0 0.1"),
        (with_architecture(num_heads=4), "says submodel.architecture.num_heads 4"),
        (replace(MANIFEST, submodel=SUBMODEL.cut(0), segments=signatures(SUBMODEL.cut(0))),
         "says submodel.max_exit 0"),
    ],
)  # fmt: skip
def test_an_edited_manifest_is_refused_by_the_fact_that_differs(
    edited: Manifest, message: str
) -> None:
    with pytest.raises(InputError, match="export the bundle again") as refused:
        hold(edited)

    assert message in str(refused.value)
    assert len(str(refused.value)) < 300


def test_an_artifact_says_its_model_and_its_classes_and_nothing_that_may_change() -> None:
    assert json.loads(STATED).keys() == {"submodel", "class_names"}

    described = tiny_manifest(listed_artifact("onnx"))
    hold(replace(described, thresholds=()))
    hold(replace(described, thresholds=same_threshold(described.artifacts, 0.3)))
    hold(replace(described, has_random_weights=True, weights_sha256="1" * 64))


def test_what_artifacts_of_version_2_say_besides_is_passed_over() -> None:
    stated = json.dumps(
        {
            **json.loads(STATED),
            "weights_sha256": "1" * 64,
            "has_random_weights": False,
            "threshold": 0.8,
            "segments": [],
            "schema_version": 2,
        }
    )

    hold(replace(MANIFEST, has_random_weights=True), stated)
    with pytest.raises(InputError, match="class_names"):
        hold(replace(MANIFEST, class_names=("a", "c", "b")), stated)


def test_what_a_later_version_adds_to_the_facts_is_passed_over() -> None:
    hold(MANIFEST, json.dumps({**json.loads(STATED), "sample_rate": 16000}))


def _without(key: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda facts: {name: value for name, value in facts.items() if name != key}


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        (None, "does not say which model it is"),
        ("{", "reefl_edge in b/onnx/segment_0.onnx: not a JSON file"),
        ("[]", "reefl_edge in b/onnx/segment_0.onnx"),
        (json.dumps(_without("submodel")(json.loads(STATED))), "submodel: "),
        (json.dumps(_without("class_names")(json.loads(STATED))), "class_names: "),
    ],
)
def test_an_artifact_that_says_too_little_is_refused(stated: str | None, message: str) -> None:
    with pytest.raises(InputError) as refused:
        hold(MANIFEST, stated)

    assert message in str(refused.value)

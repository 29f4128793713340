"""Which runtime runs a bundle, and on which artifact and how many threads."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from reefl_edge.bundles.artifacts import Target
from reefl_edge.bundles.bundle import Bundle
from reefl_edge.bundles.manifest import Deployment
from reefl_edge.errors import InputError, MissingToolchainError
from reefl_edge.runtimes.base import RUNTIMES, RuntimeName, default_threads
from reefl_edge.runtimes.opening import (
    artifact_for,
    open_runtime,
    runtime_for,
    threads_for,
)
from tests.fakes.bundles import listed_artifact, tiny_manifest


def bundle_of(targets: Sequence[Target]) -> Bundle:
    return Bundle(Path("bundle"), tiny_manifest(*map(listed_artifact, targets)))


def test_a_bundle_runs_on_onnx_where_it_has_it_and_else_on_executorch() -> None:
    assert runtime_for(bundle_of(["executorch", "onnx"])) == "onnx"
    assert runtime_for(bundle_of(["coreml", "executorch"])) == "executorch"
    with pytest.raises(InputError, match="no onnx or executorch artifact that runs here"):
        runtime_for(bundle_of(["coreml"]))


@pytest.mark.parametrize("name", ["eager", "executorch"])
def test_a_runtime_without_torch_says_which_extra_brings_it(
    name: RuntimeName, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in [name for name in sys.modules if name.startswith("torch")]:
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.delitem(sys.modules, f"reefl_edge.runtimes.{name}", raising=False)

    with pytest.raises(MissingToolchainError, match=rf"the \w+ runtime needs .*(?:{name}|train)"):
        open_runtime(name, bundle_of(["onnx", "executorch"]))


def test_each_runtime_has_its_artifact_and_eager_takes_the_float32_weights() -> None:
    int8 = replace(listed_artifact("onnx"), precision="int8-dynamic")
    others = listed_artifact("onnx"), listed_artifact("executorch")
    bundle = Bundle(Path("b"), tiny_manifest(int8, *others))

    found = {name: artifact_for(name, bundle).name for name in RUNTIMES}

    assert found == {
        "onnx": "onnx-int8-dynamic",  # the preferred one
        "executorch": "executorch-fp32",
        "eager": "onnx-fp32",
    }
    with pytest.raises(ValueError, match="the eager runtime computes in fp32, not in int8-dynamic"):
        artifact_for("eager", bundle, "int8-dynamic")


def test_a_bundle_runs_on_no_more_threads_than_there_are_whatever_its_device_has() -> None:
    device = Deployment(device="server", threads=1000)
    bundle = Bundle(Path("bundle"), replace(tiny_manifest(), deployment=device))

    assert threads_for(bundle) == default_threads()

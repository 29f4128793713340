"""What all runtimes share."""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from reefl_edge.errors import InputError, MissingToolchainError
from reefl_edge.manifest import Artifact, Bundle, Manifest, Target, signatures
from reefl_edge.runtimes.base import RuntimeName, Tensors, in_batches, open_runtime, runtime_for
from tests.fakes import tiny_submodel


def bundle_of(targets: Sequence[Target]) -> Bundle:
    submodel = tiny_submodel()
    artifacts = tuple(
        Artifact(
            target=target,
            delegate=None,
            precision="fp32",
            batch_sizes=(1,),
            toolchain={},
            files=(),
        )
        for target in targets
    )
    manifest = Manifest(
        name="tiny",
        created_at="2026-01-01",
        submodel=submodel,
        weights_sha256="",
        has_random_weights=True,
        class_names=("a", "b", "c"),
        threshold=None,
        segments=signatures(submodel),
        artifacts=artifacts,
    )
    return Bundle(Path("bundle"), manifest)


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


@pytest.mark.parametrize(
    ("total", "sizes", "parts"),
    [(5, (1, 4), [4, 1]), (5, (1,), [1] * 5), (19, (1, 4, 16), [16, 1, 1, 1]), (4, (1, 4), [4])],
)
def test_a_batch_is_run_in_the_largest_parts_that_fit(
    total: int, sizes: tuple[int, ...], parts: list[int]
) -> None:
    ran = []

    def double(size: int, part: Tensors) -> Tensors:
        assert {len(array) for array in part} == {size}
        ran.append(size)
        return tuple(2 * array for array in part)

    rows = np.arange(total)
    doubled, tens = in_batches(double, sizes, (rows, 10 * rows))

    assert ran == parts
    np.testing.assert_array_equal(doubled, 2 * rows)
    np.testing.assert_array_equal(tens, 20 * rows)

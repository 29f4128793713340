"""What all runtimes share."""

import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from reefl_edge.errors import InputError, MissingToolchainError
from reefl_edge.manifest import Bundle, Deployment, Target
from reefl_edge.runtimes.base import (
    RuntimeName,
    Tensors,
    _threads_for,
    check_threads,
    default_threads,
    in_batches,
    open_runtime,
    refusal,
    runtime_for,
)
from tests.fakes import listed_artifact, tiny_manifest


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


def test_threads_are_at_most_the_cores_of_the_machine() -> None:
    check_threads(os.cpu_count() or 1)

    for threads in (0, -1, (os.cpu_count() or 1) + 1, 1000, 10**20):
        with pytest.raises(ValueError, match=f"threads must be from 1 to .*, got {threads}"):
            check_threads(threads)


def test_a_bundle_runs_on_no_more_threads_than_there_are_whatever_its_device_has() -> None:
    device = Deployment(device="server", threads=1000)
    bundle = Bundle(Path("bundle"), replace(tiny_manifest(), deployment=device))

    assert _threads_for(bundle) == default_threads()


def test_what_an_engine_says_in_several_lines_becomes_one(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.DEBUG, "reefl_edge"):
        error = refusal("engine 1.0", "load it", RuntimeError("\nno such node\n  at line 7\n"))

    assert str(error) == "engine 1.0 cannot load it: no such node"
    assert [record.message for record in caplog.records] == ["engine 1.0: at line 7"]
    assert str(refusal("engine", "run", RuntimeError())) == "engine cannot run: RuntimeError"

"""Segments that were put together from parts compute what the network computes, for any batch."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from reefl_edge.models.reefl import ReeFL
from reefl_edge.runtimes.chain import run_chain
from reefl_edge.runtimes.onnx import OnnxRuntime
from reefl_edge.submodel import ExitSchedule, Regime, Submodel
from reefl_export.conversion import SharedWork
from reefl_export.onnx.exporter import export_onnx
from reefl_export.onnx.parts import parts_of, trace_kinds
from reefl_export.recipe import recipe_for
from tests.export.onnx.artifacts import eager_logits, graph, session
from tests.fakes.exports import conversion_of
from tests.fakes.images import random_images
from tests.fakes.networks import lively_network
from tests.fakes.submodels import TINY_ARCHITECTURE, deep_submodel


def submodel(exit_blocks: tuple[int, ...], regime: Regime = "full") -> Submodel:
    schedule = ExitSchedule(exit_blocks)
    architecture = replace(TINY_ARCHITECTURE, num_blocks=exit_blocks[-1] + 1)
    return Submodel(
        architecture=architecture,
        schedule=schedule,
        max_exit=len(exit_blocks) - 1,
        regime=regime,
    )


def assert_same_logits(network: ReeFL, folder: Path, *, num_images: int) -> None:
    images, num_exits = random_images(num_images), network.submodel.num_exits
    expected = eager_logits(network, images)
    chain = OnnxRuntime([session(folder / f"segment_{index}.onnx") for index in range(num_exits)])
    for one, other in zip(expected, run_chain(chain, images, num_exits=num_exits), strict=True):
        np.testing.assert_allclose(other, one, atol=1e-4)


@pytest.mark.parametrize("exit_blocks", [(0,), (0, 1), (0, 3), (2, 3), (1, 2, 5)])
@pytest.mark.parametrize("regime", ["full", "parallel-adapter"])
def test_segments_compute_what_the_network_computes(
    exit_blocks: tuple[int, ...], regime: Regime, tmp_path: Path
) -> None:
    network = lively_network(submodel(exit_blocks, regime))

    export_onnx(conversion_of(network, tmp_path, recipe=recipe_for("onnx")))

    for num_images in (1, 2, 5):
        assert_same_logits(network, tmp_path, num_images=num_images)


def test_blocks_that_are_alike_are_traced_once() -> None:
    network = lively_network(deep_submodel(num_exits=4, max_exit=3))

    kinds, _ = trace_kinds(network)

    assert [kind.name for kind in kinds] == ["stem", "block_0", "step_first", "step", "step_exit"]


def test_a_block_that_differs_is_traced_by_itself() -> None:
    network = lively_network(submodel((0, 3)))
    network.blocks[2] = lively_network(submodel((0,), "serial-adapter")).blocks[0]
    segments = network.submodel.segments()

    blocks = [
        part.kind.name
        for segment in segments
        for part in parts_of(network, segment)
        if part.kind.sort == "block"
    ]

    assert blocks == ["block_0", "block_0", "block_1", "block_0"]


def test_what_a_segment_reads_bears_the_names_of_its_own_blocks(tmp_path: Path) -> None:
    network = lively_network(submodel((0, 3)))

    export_onnx(conversion_of(network, tmp_path, recipe=recipe_for("onnx")))

    names = {tensor.name for tensor in graph(tmp_path, 1).graph.initializer}
    weights = {f"blocks.{index}.mlp.fc1.weight" for index in range(4)}
    assert names & weights == weights - {"blocks.0.mlp.fc1.weight"}


def test_precisions_that_share_are_what_they_are_alone(tmp_path: Path) -> None:
    network = lively_network(submodel((0, 1)))
    shared = SharedWork()
    said: list[str] = []

    for precision in ("fp16", "int8-static", "fp32", "int8-dynamic"):
        for name, work in ((f"{precision} alone", SharedWork()), (precision, shared)):
            (tmp_path / name).mkdir()
            recipe = recipe_for("onnx", precision)
            conversion = conversion_of(network, tmp_path / name, said.append, recipe=recipe)
            export_onnx(replace(conversion, shared=work))

    assert sum("trace" in line for line in said) == 4 + 1
    for alone in tmp_path.glob("* alone"):
        for path in alone.iterdir():
            together = tmp_path / alone.name.removesuffix(" alone") / path.name
            assert path.read_bytes() == together.read_bytes()

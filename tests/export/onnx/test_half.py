"""An ONNX artifact in half precision."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from reefl_edge.checkpoints.checkpoint import WEIGHTS_NAME
from reefl_edge.models.reefl import ReeFL
from reefl_export.onnx.exporter import export_onnx
from reefl_export.recipe import recipe_for
from tests.export.onnx.artifacts import (
    eager_logits,
    external,
    graph,
    logits_of,
    relative_errors,
    session,
)
from tests.fakes.exports import conversion_of
from tests.fakes.images import random_images


@pytest.fixture(scope="module")
def folder(network: ReeFL, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("half")
    export_onnx(conversion_of(network, folder, recipe=recipe_for("onnx", "fp16")))
    return folder


def test_the_chain_stays_near_the_network(folder: Path, network: ReeFL) -> None:
    images = random_images(8)

    errors = relative_errors(eager_logits(network, images), logits_of(folder, images))

    assert 0 < max(errors) < 0.005


def test_weights_are_stored_once_in_half(folder: Path, network: ReeFL) -> None:
    arrays = load_file(folder / WEIGHTS_NAME)
    places = [external(graph(folder, exit_index)) for exit_index in range(2)]

    assert {array.dtype for array in arrays.values()} == {np.dtype(np.float16)}
    assert arrays.keys() <= {spec.name for spec in network.submodel.arrays()}
    assert places[0].keys() | places[1].keys() == arrays.keys()
    assert all(places[0][name] == places[1][name] for name in places[0].keys() & places[1].keys())


def test_segments_take_and_give_float32(folder: Path, network: ReeFL) -> None:
    types = {"float32": "tensor(float)", "uint8": "tensor(uint8)"}
    for segment in network.submodel.segments():
        loaded = session(folder / f"{segment.name}.onnx")

        values = (*loaded.get_inputs(), *loaded.get_outputs())
        specs = (*segment.inputs, *segment.outputs)
        assert [(value.name, tuple(value.shape), value.type) for value in values] == [
            (spec.name, spec.shape, types[spec.dtype]) for spec in specs
        ]

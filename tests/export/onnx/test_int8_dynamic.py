"""Linear layers in 8-bit integers, the range of activations found while running."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from safetensors.numpy import load_file

from reefl_edge.bundles.facts import METADATA_KEY
from reefl_edge.checkpoints.checkpoint import WEIGHTS_NAME, read_checkpoint
from reefl_edge.errors import InputError
from reefl_edge.models.reefl import ReeFL
from reefl_export.onnx.assembly import IR_VERSION, OPSET_VERSION
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
from tests.fakes.exports import FACTS, conversion_of
from tests.fakes.images import random_images

RECIPE = replace(recipe_for("onnx", "int8-dynamic"), keep_float=("blocks.0.attn.*",))


@pytest.fixture(scope="module")
def folder(network: ReeFL, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("int8")
    export_onnx(conversion_of(network, folder, recipe=RECIPE))
    return folder


def test_the_chain_stays_near_the_network(folder: Path, network: ReeFL) -> None:
    images = random_images(8)

    errors = relative_errors(eager_logits(network, images), logits_of(folder, images))

    assert 0 < max(errors) < 0.05


def test_linear_layers_are_stored_in_8_bits_but_those_kept_float(folder: Path) -> None:
    arrays = load_file(folder / WEIGHTS_NAME)

    rounded = {name for name, array in arrays.items() if array.dtype == np.int8}
    assert "blocks.0.mlp.fc1.weight_int8" in rounded
    assert "blocks.1.attn.qkv.weight_int8" in rounded
    assert "blocks.0.mlp.fc1.weight" not in arrays
    assert arrays["blocks.0.attn.qkv.weight"].dtype == np.float32


def test_every_weight_lies_in_the_shared_file_once(folder: Path) -> None:
    places = [external(graph(folder, exit_index)) for exit_index in range(2)]

    assert {file for place in places for file, _ in place.values()} == {WEIGHTS_NAME}
    shared = places[0].keys() & places[1].keys()
    assert "accumulator.mlp.fc1.weight_int8" in shared
    assert all(places[0][name] == places[1][name] for name in shared)
    assert places[0].keys() | places[1].keys() == load_file(folder / WEIGHTS_NAME).keys()


def test_segments_look_from_outside_as_in_float(folder: Path, network: ReeFL) -> None:
    for segment in network.submodel.segments():
        model = graph(folder, segment.exit_index)
        loaded = session(folder / f"{segment.name}.onnx")

        assert model.ir_version <= IR_VERSION
        assert {(opset.domain, opset.version) for opset in model.opset_import} == {
            ("", OPSET_VERSION)
        }
        assert {entry.key: entry.value for entry in model.metadata_props} == {METADATA_KEY: FACTS}
        specs = (*segment.inputs, *segment.outputs)
        values = (*loaded.get_inputs(), *loaded.get_outputs())
        assert [(value.name, tuple(value.shape)) for value in values] == [
            (spec.name, spec.shape) for spec in specs
        ]
        types = {"float32": "tensor(float)", "uint8": "tensor(uint8)"}
        assert [value.type for value in values] == [types[spec.dtype] for spec in specs]


def test_onnxruntime_runs_a_layer_as_one_operation(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "optimised.onnx"

    session(folder / "segment_1.onnx", optimized_model_filepath=str(path))

    model = onnx.load(path, load_external_data=False)
    operations = [node.op_type for node in model.graph.node]
    # Four layers of the block, the accumulator's, and the classifier.
    assert operations.count("DynamicQuantizeMatMul") >= 4 + 4 + 1
    assert "MatMulInteger" not in operations


def test_the_weights_are_no_checkpoint(folder: Path) -> None:
    with pytest.raises(InputError, match="not written by reefl-edge"):
        read_checkpoint(folder / WEIGHTS_NAME)

"""Linear layers in 8-bit integers, the range of activations found on calibration images."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnx_ir
import pytest
from onnx import numpy_helper
from safetensors.numpy import load_file

from reefl_edge.checkpoints.checkpoint import WEIGHTS_NAME
from reefl_edge.models.reefl import ReeFL
from reefl_export.onnx.exporter import export_onnx
from reefl_export.onnx.int8 import quantise_static
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

RECIPE = replace(recipe_for("onnx", "int8-static"), keep_float=("blocks.0.attn.*",))


@pytest.fixture(scope="module")
def folder(network: ReeFL, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("int8")
    export_onnx(conversion_of(network, folder, recipe=RECIPE))
    return folder


def test_the_chain_stays_near_the_network(folder: Path, network: ReeFL) -> None:
    images = random_images(8, seed=1)

    errors = relative_errors(eager_logits(network, images), logits_of(folder, images))

    assert 0 < max(errors) < 0.08


def test_an_image_gets_the_same_answer_in_any_batch(folder: Path) -> None:
    images = random_images(4)

    batch = logits_of(folder, images)
    alone = logits_of(folder, images[:1])

    np.testing.assert_allclose(batch[-1][:1], alone[-1], atol=1e-5)


def test_weights_are_stored_once_in_8_bits(folder: Path) -> None:
    arrays = load_file(folder / WEIGHTS_NAME)
    places = [external(graph(folder, exit_index)) for exit_index in range(2)]

    assert arrays["blocks.0.mlp.fc1.weight_int8"].dtype == np.int8
    assert arrays["blocks.0.attn.qkv.weight"].dtype == np.float32
    assert "blocks.0.mlp.fc1.weight" not in arrays
    assert places[0].keys() | places[1].keys() == arrays.keys()
    assert all(places[0][name] == places[1][name] for name in places[0].keys() & places[1].keys())


def test_onnxruntime_runs_a_layer_as_one_operation(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "optimised.onnx"

    session(folder / "segment_1.onnx", optimized_model_filepath=str(path))

    model = onnx.load(path, load_external_data=False)
    operations = [node.op_type for node in model.graph.node]
    assert operations.count("QGemm") >= 4 + 4 + 1
    assert not {"Gemm", "DequantizeLinear"} & set(operations)


def test_a_static_recipe_needs_images(network: ReeFL, tmp_path: Path) -> None:
    conversion = replace(conversion_of(network, tmp_path, recipe=RECIPE), calibration=None)

    with pytest.raises(ValueError, match="needs calibration images"):
        export_onnx(conversion)


def one_layer() -> onnx_ir.Model:
    """Return a graph whose linear layer reads an image's pixels in units of 1 / 255."""
    text = """
        <ir_version: 10, opset_import: ["" : 20]>
        layer (uint8[B, 1, 1, 3] images) => (float[B, 2] logits)
        <float[2, 3] layer = {1, 0, 0, 0, 1, -1}, float[2] bias = {1, 2},
         float unit = {0.00392156862745098}, int64[2] shape = {-1, 3}>
        {
            pixels = Cast <to = 1> (images)
            flat = Reshape(pixels, shape)
            rows = Mul(flat, unit)
            logits = Gemm <transB = 1> (rows, layer, bias)
        }
    """
    return onnx_ir.from_proto(onnx.parser.parse_model(text))


def test_a_range_is_widened_to_hold_zero() -> None:
    model = one_layer()

    quantise_static(model, (), {"layer": (0.3, 0.51)})

    constants = {
        tensor.name: numpy_helper.to_array(tensor)
        for tensor in onnx_ir.to_proto(model).graph.initializer
    }
    assert constants["layer.input_scale"] == pytest.approx(0.002)
    assert constants["layer.input_zero_point"] == 0
    assert "layer" not in constants

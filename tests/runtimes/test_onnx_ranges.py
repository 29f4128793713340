"""Graphs that are watched while they run."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from reefl_edge.runtimes.base import default_threads
from reefl_edge.runtimes.onnx_ranges import input_ranges

IMAGES = np.array([[51, 102, 255], [102, 153, 204]], np.uint8).reshape(2, 1, 1, 3)


def one_layer() -> bytes:
    """Return a graph whose linear layer reads an image's pixels in units of 1 / 255."""
    text = """
        <ir_version: 10, opset_import: ["" : 20]>
        segment (uint8[B, 1, 1, 3] images) => (float[B, 2] logits)
        <float[2, 3] weight = {1, 0, 0, 0, 1, -1}, float[2] bias = {1, 2},
         float unit = {0.00392156862745098}, int64[2] shape = {-1, 3}>
        {
            pixels = Cast <to = 1> (images)
            flat = Reshape(pixels, shape)
            rows = Mul(flat, unit)
            logits = Gemm <transB = 1> (rows, weight, bias)
        }
    """
    model = onnx.parser.parse_model(text)
    model.graph.initializer[0].name = "layer.weight"
    model.graph.node[-1].input[1] = "layer.weight"
    return bytes(model.SerializeToString())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "segment_0.onnx"
    path.write_bytes(one_layer())
    return path


def test_a_range_is_the_mean_over_images_of_the_extremes(path: Path) -> None:
    ranges = input_ranges([path], IMAGES, {"layer"}, threads=default_threads())

    assert ranges.keys() == {"layer"}
    assert ranges["layer"] == pytest.approx((0.3, 0.9))


def test_a_layer_that_is_not_asked_for_is_not_watched(path: Path) -> None:
    assert input_ranges([path], IMAGES, {"other"}, threads=default_threads()) == {}


def test_a_graph_is_watched_beside_its_file_and_stays(path: Path) -> None:
    input_ranges([path], IMAGES, {"layer"}, threads=default_threads())

    assert [each.name for each in path.parent.iterdir()] == ["segment_0.onnx"]
    assert path.read_bytes() == one_layer()

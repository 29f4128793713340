"""Graphs hold no weights and know nothing of them: others may come in their places."""

from pathlib import Path

from reefl_edge.models.reefl import ReeFL
from reefl_export.onnx.exporter import export_onnx
from reefl_export.recipe import recipe_for
from tests.export.onnx.artifacts import external, graph
from tests.fakes.exports import conversion_of
from tests.fakes.networks import lively_network


def test_weights_that_are_equal_or_zero_are_read_each_by_its_name(
    network: ReeFL, tmp_path: Path
) -> None:
    assert not network.classifier.linear.bias.any()  # type: ignore[union-attr, operator]

    export_onnx(conversion_of(network, tmp_path, recipe=recipe_for("onnx")))

    read = external(graph(tmp_path, 0)).keys() | external(graph(tmp_path, 1)).keys()
    assert read == {spec.name for spec in network.submodel.arrays()}


def test_graphs_of_other_weights_are_the_same(network: ReeFL, tmp_path: Path) -> None:
    folders = tmp_path / "random", tmp_path / "lively"
    for folder, each in zip(folders, (network, lively_network(network.submodel)), strict=True):
        folder.mkdir()
        export_onnx(conversion_of(each, folder, recipe=recipe_for("onnx")))

    one, other = (folder / "segment_0.onnx" for folder in folders)
    assert one.read_bytes() == other.read_bytes()

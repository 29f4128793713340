"""A bundle for worker processes, made without an exporter: its segments give zeros at once."""

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from reefl_edge import schema
from reefl_edge.bundles.artifacts import Artifact, BundleFile
from reefl_edge.bundles.bundle import Bundle
from reefl_edge.bundles.facts import METADATA_KEY, Facts
from reefl_edge.bundles.manifest import MANIFEST_NAME, Manifest, signatures
from reefl_edge.files import write_text
from reefl_edge.submodel import Segment, TensorSpec
from tests.fakes.submodels import tiny_submodel

_ONNX_TYPES = {"uint8": onnx.TensorProto.UINT8, "float32": onnx.TensorProto.FLOAT}


@pytest.fixture(scope="session")
def onnx_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle of two segments for onnxruntime."""
    folder = tmp_path_factory.mktemp("bundles") / "zeros"
    (folder / "onnx").mkdir(parents=True)
    submodel = tiny_submodel()
    facts = Facts(submodel=submodel, class_names=("a", "b", "c"))
    paths = []
    for segment in submodel.segments():
        paths.append(folder / "onnx" / f"{segment.name}.onnx")
        onnx.save(_zeros(segment, facts), paths[-1])
    artifact = Artifact(
        target="onnx",
        delegate=None,
        precision="fp32",
        batch_sizes=(),
        toolchain={"onnx": onnx.__version__},
        files=tuple(BundleFile.of(folder, path) for path in paths),
    )
    manifest = Manifest(
        name="zeros",
        created_at="2026-01-31T12:00:00+00:00",
        submodel=submodel,
        weights_sha256="0" * 64,
        has_random_weights=True,
        class_names=("a", "b", "c"),
        segments=signatures(submodel),
        artifacts=(artifact,),
    )
    write_text(folder / MANIFEST_NAME, schema.to_json(manifest))
    return Bundle.open(folder)


def _zeros(segment: Segment, facts: Facts) -> onnx.ModelProto:
    """Build a graph with the inputs and outputs of a segment, for one image, that gives zeros."""
    nodes = [
        helper.make_node(
            "Constant",
            [],
            [spec.name],
            value=numpy_helper.from_array(np.zeros(_shape(spec), np.float32)),
        )
        for spec in segment.outputs
    ]
    graph = helper.make_graph(
        nodes,
        segment.name,
        [_value(spec) for spec in segment.inputs],
        [_value(spec) for spec in segment.outputs],
    )
    opset = helper.make_opsetid("", 20)
    model = helper.make_model(graph, ir_version=10, opset_imports=[opset])
    helper.set_model_props(model, {METADATA_KEY: schema.to_json(facts)})
    return model


def _value(spec: TensorSpec) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(spec.name, _ONNX_TYPES[spec.dtype], _shape(spec))


def _shape(spec: TensorSpec) -> list[int]:
    return [1 if size == "batch" else size for size in spec.shape]

"""Reading graphs without the onnx package, held to the onnx package."""

from contextlib import suppress
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from reefl_edge import schema
from reefl_edge.bundles.bundle import Bundle
from reefl_edge.bundles.facts import METADATA_KEY, facts_of
from reefl_edge.errors import InputError
from reefl_edge.runtimes.onnx_graph import NESTED, hold_graph, read_graph
from tests.fakes.bundles import listed_artifact, tiny_manifest


def stored_in(location: str, name: str = "w") -> TensorProto:
    """Return a tensor whose content lies in another file."""
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[1])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    tensor.external_data.add(key="offset", value="64")
    return tensor


def graph_of(*tensors: TensorProto, nodes: tuple[onnx.NodeProto, ...] = ()) -> onnx.GraphProto:
    return helper.make_graph(list(nodes), "graph", [], [], list(tensors))


def write(folder: Path, graph: onnx.GraphProto, **metadata: str) -> Path:
    model = helper.make_model(graph)
    helper.set_model_props(model, metadata)
    path = folder / "segment_0.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def test_the_numbers_of_the_fields_are_onnxs() -> None:
    for kind, fields in NESTED.items():
        declared = getattr(onnx, kind).DESCRIPTOR.fields_by_number
        for number, nested in fields.items():
            assert declared[number].message_type.name == nested


def test_every_way_to_a_tensor_is_followed() -> None:
    leading: dict[str, set[int]] = {"TensorProto": set()}
    messages = onnx.ModelProto.DESCRIPTOR.file.message_types_by_name.values()
    for _ in messages:  # as many steps as the longest way could have
        for message in messages:
            numbers = {
                field.number
                for field in message.fields
                if field.message_type is not None and field.message_type.name in leading
            }
            if numbers:
                leading[message.name] = numbers
    del leading["TensorProto"]

    assert {kind: set(fields) for kind, fields in NESTED.items()} == leading


def test_metadata_and_the_files_of_weights_are_read(tmp_path: Path) -> None:
    path = write(tmp_path, graph_of(stored_in("weights.safetensors")), reefl_edge="{}", other="x")

    graph = read_graph(path)

    assert graph.metadata == {"reefl_edge": "{}", "other": "x"}
    assert graph.locations == {"weights.safetensors"}


def test_files_read_in_branches_attributes_and_sparse_tensors_are_found(tmp_path: Path) -> None:
    branch = helper.make_node("If", ["c"], ["y"], then_branch=graph_of(stored_in("branch")))
    constant = helper.make_node("Constant", [], ["z"], value=stored_in("constant"))
    graph = graph_of(nodes=(branch, constant))
    sparse = graph.sparse_initializer.add()
    sparse.values.CopyFrom(stored_in("sparse"))

    assert read_graph(write(tmp_path, graph)).locations == {"branch", "constant", "sparse"}


def test_a_graph_that_ends_early_is_refused_or_read_as_far_as_it_goes(tmp_path: Path) -> None:
    content = write(tmp_path, graph_of(stored_in("weights")), reefl_edge="{}").read_bytes()
    path = tmp_path / "cut.onnx"
    read = []
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with suppress(InputError):
            read.append(read_graph(path))

    assert 0 < len(read) < len(content) / 2
    assert all(graph.metadata == {} for graph in read)  # it stands at the end


@pytest.mark.parametrize(
    "content", [b"\xff" * 40, b"\x0b", b"<html>", b"\x72\x04\x0a\x02\xff\xff", bytes([0x80] * 12)]
)
def test_what_is_no_graph_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)

    with pytest.raises(InputError, match="is no ONNX graph"):
        read_graph(path)


def test_deep_nesting_is_read_without_recursion(tmp_path: Path) -> None:
    # A graph's node's attribute's graph, 2,000 times; onnx itself gives up at 100.
    message = b""
    for _ in range(2000):
        for tag in (0x32, 0x2A, 0x0A):  # AttributeProto.g, NodeProto.attribute, GraphProto.node
            message = tagged(tag, message)
    path = tmp_path / "deep.onnx"
    path.write_bytes(tagged(0x3A, message))  # ModelProto.graph

    assert read_graph(path).locations == frozenset()


def tagged(tag: int, message: bytes) -> bytes:
    """Return a message as a field of another."""
    length, size = len(message), bytearray()
    while length > 0x7F:
        size.append(length & 0x7F | 0x80)
        length >>= 7
    return bytes([tag, *size, length]) + message


@pytest.mark.parametrize("location", ["other.bin", "../weights.safetensors", "/etc/passwd"])
def test_a_graph_may_read_listed_files_only(tmp_path: Path, location: str) -> None:
    listed = listed_artifact("onnx", "segment_0.onnx", "weights.safetensors")
    manifest = tiny_manifest(listed)
    bundle = Bundle(tmp_path, manifest)
    facts = {METADATA_KEY: schema.to_json(facts_of(manifest))}

    hold_graph(bundle, listed, write(tmp_path, graph_of(stored_in("weights.safetensors")), **facts))
    path = write(tmp_path, graph_of(stored_in(location)), **facts)
    with pytest.raises(InputError, match=f"reads {location!r}, which .*manifest.json does not"):
        hold_graph(bundle, listed, path)

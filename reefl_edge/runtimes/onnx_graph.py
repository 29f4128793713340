"""What does an ONNX graph say of itself, and which files does it read, before anything loads it?

Read without the onnx package, which a device need not have. A graph is a protobuf message: fields,
each a number and a value, whose nested messages are walked here as far as tensors lie in them.

Source: onnx.proto of ONNX 1.23, https://protobuf.dev/programming-guides/encoding.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from reefl_edge.bundles.artifacts import Artifact, BundleFile
from reefl_edge.bundles.bundle import Bundle
from reefl_edge.bundles.facts import METADATA_KEY, hold_to_artifact, hold_to_step
from reefl_edge.bundles.manifest import MANIFEST_NAME
from reefl_edge.bundles.training import StepArtifact, TrainingStep
from reefl_edge.errors import InputError

# Which fields of a message hold messages that lead to what is looked for, by their numbers.
NESTED: dict[str, dict[int, str]] = {
    "ModelProto": {
        7: "GraphProto",
        14: "StringStringEntryProto",
        20: "TrainingInfoProto",
        25: "FunctionProto",
    },
    "TrainingInfoProto": {1: "GraphProto", 2: "GraphProto"},
    "FunctionProto": {7: "NodeProto", 11: "AttributeProto"},
    "GraphProto": {1: "NodeProto", 5: "TensorProto", 15: "SparseTensorProto"},
    "NodeProto": {5: "AttributeProto"},
    "AttributeProto": {
        5: "TensorProto",
        6: "GraphProto",
        10: "TensorProto",
        11: "GraphProto",
        22: "SparseTensorProto",
        23: "SparseTensorProto",
    },
    "SparseTensorProto": {1: "TensorProto", 2: "TensorProto"},
    "TensorProto": {13: "StringStringEntryProto"},
}
_KEY, _VALUE = 1, 2  # of a StringStringEntryProto

_VARINT, _EIGHT_BYTES, _LENGTH, _FOUR_BYTES = 0, 1, 2, 5
_FIXED_SIZES = {_EIGHT_BYTES: 8, _FOUR_BYTES: 4}
_MAX_VARINT_BYTES = 10


@dataclass(frozen=True, slots=True)
class GraphFile:
    """What is known of a graph without loading it.

    Attributes:
        metadata: The model's own metadata, by key.
        locations: The files its tensors lie in, as paths from the graph's folder.
    """

    metadata: dict[str, str]
    locations: frozenset[str]


def hold_graph(bundle: Bundle, artifact: Artifact, path: Path) -> frozenset[BundleFile]:
    """Hold a bundle's manifest to a graph: its facts, and the files it reads.

    Returns:
        These files, which are not looked at.

    Raises:
        InputError: The manifest says something else, or does not list one of the files.
    """
    graph = read_graph(path)
    hold_to_artifact(bundle, graph.metadata.get(METADATA_KEY), path)
    return _listed(bundle, artifact.files, path, graph)


def step_graph(bundle: Bundle, step: TrainingStep) -> tuple[StepArtifact, Path]:
    """Return what of a training step was compiled to ONNX, and its graph, held to its hash.

    Raises:
        InputError: There is none, or it is missing or changed.
    """
    artifact = step.artifact("onnx")
    files = () if artifact is None else artifact.files
    graphs = [file for file in files if file.path.endswith(".onnx")]
    if artifact is None or len(graphs) != 1:
        raise InputError(
            f"{bundle.directory} lists {len(graphs) or 'no'} ONNX graphs for "
            f"{step.submodel.regime} training, which takes one; export the bundle again"
        )
    return artifact, graphs[0].verified(bundle.directory)


def hold_step(
    bundle: Bundle, step: TrainingStep, artifact: StepArtifact, path: Path
) -> frozenset[BundleFile]:
    """Hold a bundle's manifest to the graph of a training step; see ``hold_graph``."""
    graph = read_graph(path)
    hold_to_step(bundle, step, graph.metadata.get(METADATA_KEY), path)
    return _listed(bundle, artifact.files, path, graph)


def _listed(
    bundle: Bundle, files: Iterable[BundleFile], path: Path, graph: GraphFile
) -> frozenset[BundleFile]:
    """Return the files that a graph reads, each of which the manifest must list."""
    listed = {bundle.directory / file.path: file for file in files}
    for location in sorted(graph.locations):
        if path.parent / location not in listed:
            raise InputError(
                f"{path} reads {location!r}, which {bundle.directory / MANIFEST_NAME} does not "
                "list; export the bundle again"
            )
    return frozenset(listed[path.parent / location] for location in graph.locations)


def read_graph(path: Path) -> GraphFile:
    """Read what an ONNX file says of itself.

    Raises:
        InputError: It is no ONNX file, or a damaged one.
    """
    metadata: dict[str, str] = {}
    locations: set[str] = set()
    try:
        for parent, entry in _entries(path.read_bytes()):
            key, value = (_text(entry, number) for number in (_KEY, _VALUE))
            if parent == "ModelProto":
                metadata[key] = value
            elif key == "location":
                locations.add(value)
    except (IndexError, ValueError) as error:
        raise InputError(f"{path} is no ONNX graph, or a damaged one") from error
    return GraphFile(metadata, frozenset(locations))


def _entries(content: bytes) -> Iterator[tuple[str, memoryview]]:
    """Give each entry of a key and a value, with the kind of message it stands in."""
    waiting = [("ModelProto", memoryview(content))]
    while waiting:
        kind, message = waiting.pop()
        for number, value in _fields(message):
            nested = NESTED[kind].get(number)
            if nested == "StringStringEntryProto":
                yield kind, value
            elif nested is not None:
                waiting.append((nested, value))


def _text(entry: memoryview, number: int) -> str:
    values = [bytes(value).decode() for found, value in _fields(entry) if found == number]
    return values[-1] if values else ""


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Give the number and the bytes of each field that has a length.

    Raises:
        IndexError: The message ends within a field.
        ValueError: It is no message.
    """
    position = 0
    while position < len(message):
        tag, position = _varint(message, position)
        number, wire_type = tag >> 3, tag & 7
        if wire_type == _VARINT:
            _, position = _varint(message, position)
            continue
        if wire_type == _LENGTH:
            length, position = _varint(message, position)
        elif wire_type in _FIXED_SIZES:
            length = _FIXED_SIZES[wire_type]
        else:
            raise ValueError(f"no field has wire type {wire_type}")
        if position + length > len(message):
            raise IndexError("a field is longer than its message")
        if wire_type == _LENGTH:
            yield number, message[position : position + length]
        position += length


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    """Return a number of variable length, and where it ends."""
    value = 0
    for index in range(_MAX_VARINT_BYTES):
        byte = message[position + index]
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, position + index + 1
    raise ValueError("a number has too many bytes")

"""What does an ONNX graph say of itself, and which files does it read, before anything loads it?

Read without the onnx package, which a device need not have. A graph is a protobuf message,
whose nested messages are walked here as far as tensors lie in them.

Source: onnx.proto of ONNX 1.23.
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
from reefl_edge.runtimes.protobuf import fields, text

# Which fields of a message hold messages that lead to tensors, by their numbers.
NESTED: dict[str, dict[int, str]] = {
    "ModelProto": {
        7: "GraphProto",
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
}
_METADATA = 14  # of a ModelProto
_KEY, _VALUE = 1, 2  # of a StringStringEntryProto
# In the metadata of a training step: nothing reads a trained array after it was changed, so that it
# may be changed where it lies.
IN_PLACE_KEY = "reefl_edge_in_place"

_LOCATION = b"location"  # the key under which a tensor names its file
_NAME, _RAW_DATA, _EXTERNAL_DATA = 8, 9, 13  # of a TensorProto


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor that lies in another file than the graph.

    Attributes:
        name: How the graph calls it.
        location: The file, as a path from the graph's folder.
        offset: Where its bytes begin in the file.
        length: How many there are; None for all that follow.
    """

    name: str
    location: str
    offset: int
    length: int | None


@dataclass(frozen=True, slots=True)
class GraphFile:
    """What is known of a graph without loading it.

    Attributes:
        metadata: The model's own metadata, by key.
        stored: The tensors that lie in other files.
    """

    metadata: dict[str, str]
    stored: tuple[StoredTensor, ...]

    @property
    def locations(self) -> frozenset[str]:
        """The files its tensors lie in, as paths from the graph's folder."""
        return frozenset(tensor.location for tensor in self.stored)


def hold_graph(
    bundle: Bundle, artifact: Artifact, path: Path, graph: GraphFile | None = None
) -> frozenset[BundleFile]:
    """Hold a bundle's manifest to a graph: its facts, and the files it reads.

    Args:
        bundle: The bundle.
        artifact: The artifact that the graph is of.
        path: The graph.
        graph: What was read of it already.

    Returns:
        These files, which are not looked at.

    Raises:
        InputError: The manifest says something else, or does not list one of the files.
    """
    graph = graph or read_graph(path)
    hold_to_artifact(bundle, graph.metadata.get(METADATA_KEY), path)
    return _listed(bundle, artifact.files, path, graph)


def step_graph(bundle: Bundle, step: TrainingStep) -> tuple[StepArtifact, Path]:
    """Return what of a training step was compiled to ONNX, and its graph, held to its hash.

    Raises:
        InputError: There is none, or it is missing or changed.
    """
    graph = bundle.step_file(step, "onnx", ".onnx")
    artifact = step.artifact("onnx")
    assert artifact is not None  # it lists the graph
    return artifact, graph.verified(bundle.directory)


def hold_step(
    bundle: Bundle, step: TrainingStep, artifact: StepArtifact, path: Path
) -> frozenset[BundleFile]:
    """Hold a bundle's manifest to the graph of a training step; see ``hold_graph``."""
    graph = read_graph(path)
    if IN_PLACE_KEY not in graph.metadata:
        raise InputError(
            f"{path} was compiled by an older reefl-edge, and cannot change arrays where they lie; "
            "export the bundle again"
        )
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
    stored: list[StoredTensor] = []
    try:
        for kind, message in messages(memoryview(path.read_bytes()), holding=_LOCATION):
            if kind == "ModelProto":
                metadata |= _entries(message, _METADATA)
            elif kind == "TensorProto" and (facts := _entries(message, _EXTERNAL_DATA)):
                stored.append(_stored(text(message, _NAME), facts))
    except (IndexError, ValueError) as error:
        raise InputError(f"{path} is no ONNX graph, or a damaged one") from error
    return GraphFile(metadata, tuple(stored))


def messages(content: memoryview, *, holding: bytes = b"") -> Iterator[tuple[str, memoryview]]:
    """Give every message on the way to a tensor, with its kind; tensors, too.

    Args:
        content: The graph.
        holding: What is looked for: messages without these bytes are passed over.

    Raises:
        IndexError: One ends within a field.
        ValueError: It is no message.
    """
    waiting = [("ModelProto", content)]
    while waiting:
        kind, message = waiting.pop()
        yield kind, message
        nested = NESTED.get(kind, {})
        for number, value in fields(message) if nested else ():
            if number in nested and holding in bytes(value):
                waiting.append((nested[number], value))


def constants(content: memoryview) -> Iterator[tuple[str, memoryview]]:
    """Give the name and the bytes of each tensor that stands in a graph itself.

    Raises:
        IndexError, ValueError: As for ``messages``.
    """
    for kind, message in messages(content):
        if kind == "TensorProto":
            for number, value in fields(message):
                if number == _RAW_DATA:
                    yield text(message, _NAME), value


def _entries(message: memoryview, number: int) -> dict[str, str]:
    """Return the keys and values that stand in a field of a message."""
    return {
        text(entry, _KEY): text(entry, _VALUE)
        for found, entry in fields(message)
        if found == number
    }


def _stored(name: str, facts: dict[str, str]) -> StoredTensor:
    length = int(facts["length"]) if "length" in facts else None
    return StoredTensor(name, facts.get("location", ""), int(facts.get("offset", "0")), length)

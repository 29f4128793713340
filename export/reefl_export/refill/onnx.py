"""How do other arrays go into an exported ONNX artifact?

Its graphs hold no weights: each reads them by name from its place in a file beside. So the graphs
stay byte for byte, and in the file every array that has changed takes the place of the one before,
rounded as the exporter rounds it. Only the ranges of activations (int8-static) stand in the graphs;
they have a size that does not change, and are written over.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reefl_edge.array_files.safetensors import (
    Entry,
    read_header,
    read_safetensors,
    write_safetensors,
)
from reefl_edge.bundles.artifacts import Artifact, BundleFile
from reefl_edge.bundles.bundle import Bundle
from reefl_edge.checkpoints.checkpoint import WEIGHTS_NAME, write_checkpoint
from reefl_edge.errors import InputError
from reefl_edge.narrowing import (
    INT8_SUFFIX,
    SCALE_SUFFIX,
    halved,
    input_point,
    input_point_names,
    origin_of,
    quantised,
)
from reefl_edge.runtimes.onnx_edit import with_constants
from reefl_edge.runtimes.onnx_graph import GraphFile, hold_graph, read_graph
from reefl_export.refill.filling import Filling

GRAPH_SUFFIX = ".onnx"

Constants = Mapping[str, bytes]


def refill_onnx(
    bundle: Bundle, artifact: Artifact, filling: Filling, folder: Path, constants: Constants
) -> Artifact:
    """Write an artifact with other arrays in the places of its own.

    Args:
        bundle: The bundle that holds it.
        artifact: The artifact; its files were held to their hashes.
        filling: The arrays.
        folder: The folder of the new bundle.
        constants: What is written over in the graphs; see ``activation_constants``.

    Raises:
        InputError: The artifact has a file of another kind, or is laid out as this version does not
            write it, or holds what is no array of the model, or its graphs do not read an array.
    """
    graphs: dict[Path, GraphFile] = {}
    for file in artifact.files:
        source, destination = bundle.directory / file.path, folder / file.path
        destination.parent.mkdir(parents=True, exist_ok=True)
        if source.name == WEIGHTS_NAME:
            _refill_weights(source, destination, filling, is_float32=artifact.precision == "fp32")
        elif source.suffix == GRAPH_SUFFIX:
            graphs[source] = read_graph(source)
            hold_graph(bundle, artifact, source, graphs[source])
            destination.write_bytes(with_constants(source.read_bytes(), constants))
        else:
            raise InputError(f"{source} is neither a graph nor its weights; export the model again")
    _hold_reads(graphs, read_header(weights_path(folder, artifact)).entries, artifact)
    files = tuple(BundleFile.of(folder, folder / file.path) for file in artifact.files)
    return replace(artifact, files=files)


def activation_constants(
    float32: Bundle, layers: Collection[str], images: NDArray[np.uint8], *, threads: int
) -> Constants:
    """Find the ranges of activations that int8-static graphs hold, on typical images.

    Args:
        float32: A bundle whose float32 ONNX artifact holds the new arrays, and is run.
        layers: The layers that compute in 8 bits; see ``layers_in_int8``.
        images: Typical images, uint8 (N, H, W, 3).
        threads: Threads to compute with.

    Returns:
        The scale and the zero point of every layer's input, by the constants' names.
    """
    # onnxruntime takes a while to import, and nothing else here runs anything.
    from reefl_edge.runtimes.onnx_ranges import input_ranges

    artifact = float32.artifact("onnx", "fp32")
    graphs = [
        float32.file(artifact, f"{segment.name}{GRAPH_SUFFIX}")
        for segment in float32.manifest.segments
    ]
    ranges = input_ranges(graphs, images, layers, threads=threads)
    constants: dict[str, bytes] = {}
    for layer, extremes in ranges.items():
        scale, zero_point = (number.tobytes() for number in input_point(*extremes))
        constants |= zip(input_point_names(layer), (scale, zero_point), strict=True)
    return constants


def layers_in_int8(bundle: Bundle, artifact: Artifact) -> frozenset[str]:
    """Return the layers of an artifact that compute in 8 bits."""
    stored = read_header(bundle.file(artifact, WEIGHTS_NAME)).entries
    weights = (name.removesuffix(INT8_SUFFIX) for name in stored if name.endswith(INT8_SUFFIX))
    return frozenset(weight.removesuffix(".weight") for weight in weights)


def _refill_weights(source: Path, destination: Path, filling: Filling, *, is_float32: bool) -> None:
    if is_float32:
        write_checkpoint(filling.deployed, destination)
    else:
        write_safetensors(_narrowed(source, filling), destination)
    hold_layout(destination, source)


def hold_layout(written: Path, source: Path) -> None:
    """See to it that arrays lie where graphs look for them.

    Raises:
        InputError: They do not: another version has written the file before.
    """
    if read_header(written).entries != read_header(source).entries:
        raise InputError(
            f"{source} is not laid out as this reefl-edge writes it, so graphs would not find "
            "other arrays; export the model again, with --update"
        )


def _narrowed(source: Path, filling: Filling) -> dict[str, NDArray[np.generic]]:
    """Return what a file of narrower weights holds, with what has changed made anew."""
    stored: dict[str, NDArray[np.generic]] = {**read_safetensors(source)}
    arrays = filling.deployed.arrays
    for name in stored:
        if origin_of(name, arrays) is None:
            raise InputError(f"{source} holds {name}, which is no array of the model")
    for name in filling.changed:
        if f"{name}{INT8_SUFFIX}" in stored:
            weight, scale = quantised(arrays[name])
            stored |= {f"{name}{INT8_SUFFIX}": weight, f"{name}{SCALE_SUFFIX}": scale}
        elif name in stored:
            is_half = stored[name].dtype == np.float16
            stored[name] = halved(arrays[name]) if is_half else arrays[name]
    return stored


def weights_path(folder: Path, artifact: Artifact) -> Path:
    """Return where the weights of an ONNX artifact lie, in the folder of its bundle."""
    paths = [folder / file.path for file in artifact.files]
    (path,) = (path for path in paths if path.name == WEIGHTS_NAME)
    return path


def _hold_reads(
    graphs: Mapping[Path, GraphFile], entries: Mapping[str, Entry], artifact: Artifact
) -> None:
    """See to it that graphs read every array of a weights file, and each from its own place.

    What they compute was compared with a network when they were exported; so they compute the same
    with other arrays, as long as all of these come from there.
    """
    unread = set(entries)
    for path, graph in graphs.items():
        for tensor in graph.stored:
            entry = entries.get(tensor.name)
            place = None if entry is None else (entry.offset, entry.length)
            if tensor.location != WEIGHTS_NAME or place != (tensor.offset, tensor.length):
                raise InputError(
                    f"{path} does not read {tensor.name} from its place in {WEIGHTS_NAME}; export "
                    "the model again, with --update"
                )
            unread.discard(tensor.name)
    if unread:
        raise InputError(
            f"no graph of {artifact.name} reads {min(unread)} from {WEIGHTS_NAME}, so another "
            "array would change nothing; export the model again, with --update"
        )

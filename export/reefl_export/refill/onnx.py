"""How do other arrays go into an exported ONNX artifact?

Its graphs hold no weights: each reads them by name from its place in a file beside. So the graphs
stay byte for byte, and in the file every array that has changed takes the place of the one before,
rounded as the exporter rounds it. Only the ranges of activations (int8-static) stand in the graphs;
they have a size that does not change, and are written over.
"""

from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
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
from reefl_edge.files import synced_meanwhile
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
    weights = weights_file(artifact)
    source, destination = bundle.directory / weights.path, folder / weights.path
    with ThreadPoolExecutor(1, thread_name_prefix="refilling") as pool:
        refilling = pool.submit(_refill_graphs, bundle, artifact, folder, constants)
        entries = _refill_weights(
            source, destination, filling, is_float32=artifact.precision == "fp32"
        )
        graphs = refilling.result()
    with synced_meanwhile(destination):
        _hold_reads(graphs, entries, artifact)
        files = tuple(BundleFile.of(folder, folder / file.path) for file in artifact.files)
    return replace(artifact, files=files)


def _refill_graphs(
    bundle: Bundle, artifact: Artifact, folder: Path, constants: Constants
) -> dict[Path, GraphFile]:
    """Write the graphs of an artifact; return what they say of themselves."""
    graphs: dict[Path, GraphFile] = {}
    for file in artifact.files:
        source, destination = bundle.directory / file.path, folder / file.path
        if source.name == WEIGHTS_NAME:
            continue
        if source.suffix != GRAPH_SUFFIX:
            raise InputError(f"{source} is neither a graph nor its weights; export the model again")
        graphs[source] = read_graph(source)
        hold_graph(bundle, artifact, source, graphs[source])
        content = source.read_bytes()
        destination.parent.mkdir(parents=True, exist_ok=True)
        destination.write_bytes(with_constants(content, constants) if constants else content)
    return graphs


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


def _refill_weights(
    source: Path, destination: Path, filling: Filling, *, is_float32: bool
) -> dict[str, Entry]:
    """Write the weights of an artifact; return what lies where in the file.

    Raises:
        InputError: It lies elsewhere than before, where graphs look for it: another version has
            written the file.
    """
    if is_float32:
        write_checkpoint(filling.deployed, destination)
    else:
        write_safetensors(_narrowed(source, filling), destination)
    entries = read_header(destination).entries
    if entries != read_header(source).entries:
        raise InputError(
            f"{source} is not laid out as this reefl-edge writes it, so graphs would not find "
            "other arrays; export the model again, with --update"
        )
    return entries


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


def weights_file(artifact: Artifact) -> BundleFile:
    """Return the file that holds the weights of an ONNX artifact."""
    (file,) = (file for file in artifact.files if Path(file.path).name == WEIGHTS_NAME)
    return file


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

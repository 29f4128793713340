"""What the tests of the ONNX precisions do with an artifact's folder."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from reefl_edge.checkpoints.checkpoint import WEIGHTS_NAME
from reefl_edge.models.arrays import random_network
from reefl_edge.models.reefl import ReeFL
from reefl_edge.runtimes.base import default_threads
from reefl_edge.runtimes.chain import Logits
from reefl_edge.runtimes.eager import EagerRuntime
from reefl_edge.runtimes.onnx import OnnxRuntime, open_session
from reefl_export.parity.comparison import chain_logits
from tests.fakes.submodels import tiny_submodel


def small_network() -> ReeFL:
    """Return a network with random weights, two exits behind a block each."""
    return random_network(tiny_submodel(num_blocks=2), seed=0)


def session(path: Path, **options: Any) -> onnxruntime.InferenceSession:
    """Load a graph with options of its own, onto the pool that all tests of a process share."""
    open_session(path, threads=default_threads())
    settings = onnxruntime.SessionOptions()
    settings.use_per_session_threads = False
    settings.log_severity_level = 3
    for name, value in options.items():
        setattr(settings, name, value)
    return onnxruntime.InferenceSession(path, settings, providers=["CPUExecutionProvider"])


def logits_of(folder: Path, images: NDArray[np.uint8], *, num_exits: int = 2) -> list[Logits]:
    """Run an artifact's chain; return the logits of every exit."""
    chain = OnnxRuntime([session(folder / f"segment_{k}.onnx") for k in range(num_exits)])
    return chain_logits(chain, images, num_exits=num_exits)


def eager_logits(network: ReeFL, images: NDArray[np.uint8]) -> list[Logits]:
    """Run the network's chain; return the logits of every exit."""
    eager = EagerRuntime(network, threads=default_threads())
    return chain_logits(eager, images, num_exits=network.submodel.num_exits)


def relative_errors(expected: list[Logits], actual: list[Logits]) -> list[float]:
    """Return the mean error of every exit, over the spread of its logits."""
    return [
        float(np.abs(logits - reference).mean() / reference.std())
        for reference, logits in zip(expected, actual, strict=True)
    ]


def graph(folder: Path, exit_index: int) -> onnx.ModelProto:
    """Read a segment's graph without its weights."""
    return onnx.load(folder / f"segment_{exit_index}.onnx", load_external_data=False)


def external(model: onnx.ModelProto) -> dict[str, tuple[str, int]]:
    """Return where the initialisers kept outside a graph lie: file and offset, by name."""
    found = {}
    for tensor in model.graph.initializer:
        facts = {entry.key: entry.value for entry in tensor.external_data}
        if facts:
            found[tensor.name] = (facts["location"], int(facts["offset"]))
    return found


def weights_bytes(folder: Path) -> int:
    """Return the size of the weights file."""
    return (folder / WEIGHTS_NAME).stat().st_size

"""How does plain PyTorch run the segments: the reference every artifact is held to?"""

from functools import partial
from typing import Self

import numpy as np
import torch

from reefl_edge.bundles.bundle import Bundle
from reefl_edge.bundles.checkpoint import bundled_checkpoint
from reefl_edge.models.accumulator import Cache
from reefl_edge.models.arrays import network_from
from reefl_edge.models.preprocess import normalise
from reefl_edge.models.reefl import ReeFL
from reefl_edge.runtimes.base import Tensors, check_threads, translated
from reefl_edge.submodel import Submodel

# What PyTorch raises of shapes, dtypes, axes and memory.
_ERRORS = (RuntimeError, IndexError)
_translated = partial(translated, f"PyTorch {torch.__version__}", errors=_ERRORS)


class EagerRuntime:
    """Segments of a network in memory.

    Args:
        network: The network.
        threads: Threads to compute with.

    Raises:
        ValueError: ``threads`` is out of range.
    """

    def __init__(self, network: ReeFL, *, threads: int) -> None:
        check_threads(threads)
        torch.set_num_threads(threads)
        self._network = network.eval()
        self._segments = network.submodel.segments()

    @classmethod
    def open(cls, bundle: Bundle, submodel: Submodel, *, threads: int) -> Self:
        """Build the network of a bundle from the checkpoint in its float32 ONNX artifact.

        Raises:
            InputError: The weights are missing or damaged, or the manifest says otherwise than
                they do.
        """
        checkpoint = bundled_checkpoint(bundle)[0].cut(submodel.max_exit)
        return cls(network_from(checkpoint.submodel, checkpoint.arrays), threads=threads)

    @torch.inference_mode()
    def run(self, exit_index: int, inputs: Tensors) -> Tensors:
        """Run one segment; see ``Runtime.run``."""
        tensors = tuple(
            torch.from_numpy(np.require(array, requirements=("C", "W"))) for array in inputs
        )
        with _translated(f"run {self._segments[exit_index].name}"):
            outputs = run_segment(self._network, exit_index, tensors)
        num_outputs = len(self._segments[exit_index].outputs)
        return tuple(tensor.numpy() for tensor in outputs[-num_outputs:])


def run_segment(
    network: ReeFL, exit_index: int, inputs: tuple[torch.Tensor, ...]
) -> tuple[torch.Tensor, ...]:
    """Run one segment of a network on deployed inputs: 8-bit images, or what the last one gave.

    Returns:
        Tokens (B, N, D), keys and values (B, blocks so far, A), logits (B, C).
    """
    architecture = network.submodel.architecture
    cache = None
    if exit_index == 0:
        (images,) = inputs
        tokens = network.embed(normalise(images, architecture.mean, architecture.std))
    else:
        tokens, keys, values = inputs
        cache = Cache(keys, values)
    tokens, cache, logits = network.run_segment(exit_index, tokens, cache)
    assert cache is not None  # every segment runs a block
    return tokens, *cache, logits

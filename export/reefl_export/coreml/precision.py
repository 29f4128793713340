"""In which precision does a Core ML package compute, and how narrow are its weights?

But for ``fp32`` everything is computed in half precision, in which the Neural Engine computes.
``int8-weights`` and ``palette4`` narrow the matrices (of linear layers, and the patch embedding)
further: they are widened again when the package is loaded, or as they are used. Inputs and outputs
are float32 throughout.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

from reefl_edge.bundles.artifacts import Precision
from reefl_edge.submodel import ArraySpec

# Outputs that share a palette of 16 numbers. A palette for a whole matrix loses several times as
# much, and this many take 0.25 bit a weight or less where a layer has 128 inputs or more.
PALETTE_CHANNELS = 16

_PALETTIZE = "compression::palettize_weights"
_QUANTIZE = "compression::linear_quantize_weights"


def compute_precision(ct: Any, precision: Precision) -> Any:
    """Return coremltools' name for what a precision computes in."""
    return ct.precision.FLOAT32 if precision == "fp32" else ct.precision.FLOAT16


def passes_for(ct: Any, precision: Precision) -> Any:
    """Return coremltools' passes for a precision.

    All but one of its own, which would shift the pixels a little: it makes their normalisation a
    batch norm and forgets its epsilon of 1e-5. Pixels lose 5e-6 of their value, and logits differ
    from the network's by ten times as much (coremltools 9.0). Its functions that narrow the weights
    of a finished package run that pass again; as passes of the conversion they do not.

    Raises:
        ValueError: Core ML packages do not come in the precision.
    """
    passes = ct.PassPipeline()
    passes.remove_passes({"common::fuse_elementwise_to_batchnorm"})
    optimize = ct.optimize.coreml
    match precision:
        case "fp32" | "fp16":
            return passes
        case "int8-weights":
            name = _QUANTIZE
            how = optimize.OpLinearQuantizerConfig(
                mode="linear_symmetric", granularity="per_channel", weight_threshold=0
            )
        case "palette4":
            name = _PALETTIZE
            how = optimize.OpPalettizerConfig(
                nbits=4,
                mode="kmeans",
                granularity="per_grouped_channel",
                group_size=PALETTE_CHANNELS,
                weight_threshold=0,
            )
        case _:
            raise ValueError(f"coreml does not come in {precision}")
    passes.append_pass(name)
    # Matrices only: embeddings are added or joined on. (To name the operators that are to be
    # narrowed fails where a bias and a norm's shift are equal, and so one constant: coremltools
    # leaves constants of one axis alone, but only after finding that the two contradict.)
    not_narrowed = dict.fromkeys(("add", "concat", "mul"))
    config = optimize.OptimizationConfig(global_config=how, op_type_configs=not_narrowed)
    passes.set_options(name, {"config": config})
    return passes


def repeatable(precision: Precision) -> AbstractContextManager[Any]:
    """Find the same palettes for the same weights, so that functions can share them.

    k-means on several threads adds up in any order.
    """
    if precision != "palette4":
        return nullcontext()
    from threadpoolctl import threadpool_limits

    limits: AbstractContextManager[Any] = threadpool_limits(1)
    return limits


def is_quantized(array: ArraySpec) -> bool:
    """Whether ``int8-weights`` narrows an array: matrices only."""
    return array.name.endswith(".weight") and len(array.shape) > 1


def is_palettized(array: ArraySpec) -> bool:
    """Whether ``palette4`` narrows an array: matrices whose outputs divide into groups.

    Others are left in half precision: with DeiT two that all exits share, the classifier and the
    first of the accumulator's MLP.
    """
    return is_quantized(array) and array.shape[0] % PALETTE_CHANNELS == 0

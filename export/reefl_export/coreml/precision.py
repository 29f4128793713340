"""In which precision does a Core ML package compute, and how narrow are its weights?

But for ``fp32`` everything is computed in half precision, in which the Neural Engine computes.
``int8-weights`` and ``palette4`` narrow the matrices (of linear layers, and the patch embedding)
further: they are widened again when the package is loaded, or as they are used. Inputs and outputs
are float32 throughout.
"""

from typing import assert_never

from reefl_edge.bundles.artifacts import Precision
from reefl_edge.submodel import ArraySpec
from reefl_export.coreml.half import halve
from reefl_export.coreml.narrow import PALETTE_CHANNELS, narrow, palettized, quantised
from reefl_export.coreml.program import Program


def in_precision(program: Program, precision: Precision) -> Program:
    """Return a float32 program in a precision; the program itself stays as it is.

    Raises:
        ValueError: Core ML packages do not come in the precision.
    """
    made = program.copy()
    match precision:
        case "fp32":
            return made
        case "fp16":
            pass
        case "int8-weights":
            narrow(made, quantised)
        case "palette4":
            narrow(made, palettized)
        case "int8-dynamic" | "int8-static":
            raise ValueError(f"coreml does not come in {precision}")
        case _:
            assert_never(precision)
    halve(made)
    return made


def is_quantized(array: ArraySpec) -> bool:
    """Whether ``int8-weights`` narrows an array: matrices only."""
    return array.name.endswith(".weight") and len(array.shape) > 1


def is_palettized(array: ArraySpec) -> bool:
    """Whether ``palette4`` narrows an array: matrices whose outputs divide into groups.

    Others are left in half precision: with DeiT two that all exits share, the classifier and the
    first of the accumulator's MLP.
    """
    return is_quantized(array) and array.shape[0] % PALETTE_CHANNELS == 0

"""How sure is an exit of its answer?

One number in [0, 1] from the exit's logits, the higher the surer; what it is, the *measure* says.
Deep and shallow exits are not equally sure of themselves where they are equally often right: a
*temperature* per exit, by which logits are divided first, makes up for that. Answers do not change
with it.

Letters: E exits, C classes.

Source: temperature scaling is Guo et al. 2017, "On calibration of modern neural networks".
"""

from typing import Literal, assert_never, get_args

import numpy as np
from numpy.typing import NDArray

ConfidenceMeasure = Literal["largest-softmax", "margin", "entropy"]
# In this order a graph counts them, from 0 (``adaptive.onnx``).
MEASURES: tuple[ConfidenceMeasure, ...] = get_args(ConfidenceMeasure)

# How far logits are divided or multiplied at most: beyond it an exit is sure of everything.
TEMPERATURE_BOUNDS = (0.05, 20.0)

Floats = NDArray[np.float32]


def confidence(
    logits: Floats, measure: ConfidenceMeasure = "largest-softmax", *, temperature: float = 1.0
) -> Floats:
    """Tell how sure an exit is, from its logits (..., C).

    Args:
        logits: What it answers.
        measure: ``largest-softmax``: the probability of the likeliest class; ``margin``: how far
            it is above that of the next one; ``entropy``: 1 minus the entropy of all, as a share
            of the largest there can be.
        temperature: The exit's.

    Returns:
        In [0, 1], (...); no number where a logit is none.
    """
    # A Python float, so that float32 stays what it is.
    probabilities = softmax(logits if temperature == 1 else logits / float(temperature))
    num_classes = logits.shape[-1]
    match measure:
        case "largest-softmax":
            return _float32(probabilities.max(axis=-1))
        case "margin" if num_classes == 1:
            return _float32(probabilities[..., 0])
        case "margin":
            two = np.partition(probabilities, num_classes - 2, axis=-1)[..., -2:]
            return _float32(two[..., 1] - two[..., 0])
        case "entropy" if num_classes == 1:
            return _float32(probabilities[..., 0])
        case "entropy":
            # What is not likely at all adds nothing, and its logarithm is kept from being infinite.
            logarithms = np.log(np.maximum(probabilities, np.finfo(np.float32).tiny))
            entropy = -(probabilities * logarithms).sum(axis=-1)
            return _float32(np.clip(1 - entropy / np.log(np.float32(num_classes)), 0, 1))
        case _:
            assert_never(measure)


def softmax(logits: Floats) -> Floats:
    """Return the probabilities of logits (..., C)."""
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    probabilities: Floats = exponentials / exponentials.sum(axis=-1, keepdims=True)
    return probabilities


def check_temperature(temperature: float) -> None:
    """Refuse a temperature that makes sure of everything, or of nothing.

    Raises:
        ValueError: It is out of bounds, or no number.
    """
    low, high = TEMPERATURE_BOUNDS
    if not low <= temperature <= high:
        raise ValueError(f"a temperature is from {low:g} to {high:g}, got {temperature:g}")


def _float32(values: NDArray[np.floating]) -> Floats:
    return values.astype(np.float32, copy=False)

"""What does a bundle say of each image, here or on a device?"""

import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reefl_edge.adaptive import AdaptiveSession


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageAnswer:
    """What is said of one image.

    Attributes:
        class_index: The most likely class.
        confidence: Its probability.
        exit_index: Where the image stopped, 0-based.
        latency_ms: How long its batch took, for each image of it.
        logits: Of every class, at that exit; None unless they are asked for.
    """

    class_index: int
    confidence: float
    exit_index: int
    latency_ms: float
    logits: tuple[float, ...] | None = None


def answers_to(
    session: AdaptiveSession, images: NDArray[np.uint8], *, wants_logits: bool = False
) -> list[ImageAnswer]:
    """Classify one batch of 8-bit RGB images of the model's size.

    Args:
        session: What classifies them.
        images: uint8, (B, H, W, 3), one at least.
        wants_logits: Whether to give the logits, too.

    Raises:
        ValueError: The array has another shape or dtype.
    """
    start = time.perf_counter()
    prediction = session.predict(images)
    latency_ms = (time.perf_counter() - start) * 1e3 / len(images)
    found = zip(
        prediction.labels,
        prediction.confidences,
        prediction.exit_indices,
        prediction.logits,
        strict=True,
    )
    return [
        ImageAnswer(
            class_index=int(label),
            confidence=float(confidence),
            exit_index=int(exit_index),
            latency_ms=latency_ms,
            logits=tuple(logits.tolist()) if wants_logits else None,
        )
        for label, confidence, exit_index, logits in found
    ]

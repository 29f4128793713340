"""Classifying images on a device that nobody holds yet."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from reefl_edge.answers import ImageAnswer
from reefl_edge.bundles.bundle import Bundle
from reefl_edge.devices.links.base import Link
from reefl_edge.jobs.device_inference import classify_on


def classified_on(
    link: Link, bundle: Bundle, images: NDArray[np.uint8], **asked: Any
) -> tuple[ImageAnswer, ...]:
    """Hold a device, and classify images there."""
    with link.held():
        return classify_on(link, bundle, images, **asked)

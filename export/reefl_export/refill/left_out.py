"""What of a bundle does not outlive an update, and why?"""

from dataclasses import dataclass

from reefl_edge.bundles.artifacts import Artifact
from reefl_export.recipe import TITLES


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """What a bundle had, and the one after an update has not.

    Attributes:
        what: The artifact, ``FORMAT-PRECISION``, or a regime's training.
        reason: Why.
    """

    what: str
    reason: str


def why_left_out(artifact: Artifact, *, has_calibration: bool) -> LeftOut | None:
    """Say why an artifact cannot be refilled; None if it can.

    Args:
        artifact: The artifact.
        has_calibration: There are typical images to find the ranges of activations on.
    """
    if artifact.target != "onnx":
        reason = f"{TITLES[artifact.target]} holds the weights compiled"
    elif artifact.precision == "int8-static" and not has_calibration:
        reason = "its ranges are those of the weights before: give typical images (--calibration)"
    else:
        return None
    return LeftOut(what=artifact.name, reason=reason)

"""Does an artifact compute what the network computes, at every exit?

The chain of segments of each runtime is run on the same 8-bit images as the eager network, and the
logits of every exit are compared.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reefl_edge.errors import ParityError
from reefl_edge.manifest import Precision, Target
from reefl_edge.runtimes.base import Runtime, Tensors
from reefl_edge.submodel import Submodel

# Largest absolute difference of a logit. Float32 sums in another order differ by about 1e-6 on
# logits near 1 and grow with depth: DeiT-S after 12 blocks shows 2e-6.
TOLERANCES: dict[Precision, float] = {"fp32": 1e-4}

NUM_IMAGES = 16

Logits = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class ParityRow:
    """How one exit of one artifact compares with the eager network.

    Attributes:
        target: The artifact.
        precision: Its precision.
        exit_index: The exit compared.
        num_images: On how many images.
        max_abs_error: Largest absolute difference of a logit.
        mean_abs_error: Mean absolute difference of the logits.
        top1_agreement: Share of images that get the same class.
        tolerance: What ``max_abs_error`` is held to.
    """

    target: Target
    precision: Precision
    exit_index: int
    num_images: int
    max_abs_error: float
    mean_abs_error: float
    top1_agreement: float
    tolerance: float

    @property
    def holds(self) -> bool:
        """Whether the artifact computes the same; a NaN does not."""
        return self.max_abs_error <= self.tolerance


def compare(
    target: Target,
    precision: Precision,
    expected: list[Logits],
    actual: list[Logits],
) -> tuple[ParityRow, ...]:
    """Compare the logits (N, C) of every exit."""
    return tuple(
        ParityRow(
            target=target,
            precision=precision,
            exit_index=exit_index,
            num_images=len(reference),
            max_abs_error=float(np.abs(logits - reference).max()),
            mean_abs_error=float(np.abs(logits - reference).mean()),
            top1_agreement=float((logits.argmax(1) == reference.argmax(1)).mean()),
            tolerance=TOLERANCES[precision],
        )
        for exit_index, (reference, logits) in enumerate(zip(expected, actual, strict=True))
    )


def check(rows: tuple[ParityRow, ...]) -> None:
    """Refuse an artifact that does not compute the same.

    Raises:
        ParityError: An exit is off; the worst is named.
    """
    broken = [row for row in rows if not row.holds]
    if broken:
        worst = max(broken, key=lambda row: np.nan_to_num(row.max_abs_error, nan=np.inf))
        raise ParityError(
            f"{worst.target} differs from the network at exit {worst.exit_index} by "
            f"{worst.max_abs_error:.2g}, more than {worst.tolerance:g}; nothing was written"
        )


def chain_logits(runtime: Runtime, images: NDArray[np.uint8], *, num_exits: int) -> list[Logits]:
    """Run images (N, H, W, 3) through all segments; return the logits (N, C) of every exit."""
    step = runtime.batch_size or len(images)
    batches = [images[start : start + step] for start in range(0, len(images), step)]
    per_batch = [_run_chain(runtime, batch, num_exits) for batch in batches]
    return [np.concatenate(logits) for logits in zip(*per_batch, strict=True)]


def _run_chain(runtime: Runtime, images: NDArray[np.uint8], num_exits: int) -> list[Logits]:
    logits: list[Logits] = []
    carried: Tensors = (images,)
    for exit_index in range(num_exits):
        *rest, exit_logits = runtime.run(exit_index, carried)
        carried = tuple(rest)
        logits.append(exit_logits)
    return logits


def sample_images(submodel: Submodel) -> NDArray[np.uint8]:
    """Return random 8-bit images of the model's size, (N, H, W, 3), always the same ones."""
    edge = submodel.architecture.image_size
    generator = np.random.default_rng(0)
    return generator.integers(0, 256, (NUM_IMAGES, edge, edge, 3), dtype=np.uint8)

"""Does an artifact compute what the network computes, at every exit?

The chain of segments of each runtime is run on the same 8-bit images as the eager network, and the
logits of every exit are compared, and where they would stop.

Letters: N images, C classes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from reefl_edge import schema
from reefl_edge.adaptive import ConfidencePolicy
from reefl_edge.bundles.artifacts import Artifact, Precision, Target, artifact_name
from reefl_edge.errors import ParityError
from reefl_edge.runtimes.base import Runtime
from reefl_edge.runtimes.chain import Logits, run_chain
from reefl_edge.thresholds.replay import exits_taken
from reefl_export.parity.gate import Gate
from reefl_export.parity.step import MAX_GRADIENT_ERROR, StepRow

# What rows compare an artifact with: the eager network, or the bundle's own float32 ONNX artifact.
ReferenceKind = Literal["network", "onnx-fp32"]

# Images at once, where any number will do: what bounds the memory of a comparison on thousands.
BATCH_SIZE = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class ParityRow:
    """How one exit of one artifact compares with the eager network.

    In JSON, an error that is no finite number is the text ``NaN`` or ``Infinity``.

    Attributes:
        target: The artifact's format.
        precision: Its precision.
        exit_index: The exit compared.
        max_abs_error: Largest absolute difference of a logit.
        mean_abs_error: Mean absolute difference of the logits.
        logit_std: Standard deviation of the network's logits: what an error is small against.
        top1_agreement: Share of images that get the same class.
        exit_agreement: Share of images that stop at the same exit, in a chain cut after this one;
            None without a threshold.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"ser_json_inf_nan": "strings"}

    target: Target
    precision: Precision
    exit_index: int
    max_abs_error: schema.AnyFloat
    mean_abs_error: schema.AnyFloat
    logit_std: schema.AnyFloat
    top1_agreement: float
    exit_agreement: float | None

    @property
    def artifact(self) -> str:
        """The artifact's name in reports."""
        return artifact_name(self.target, self.precision)

    @property
    def mean_error_share(self) -> float:
        """Mean error over the standard deviation of the logits."""
        return self.mean_abs_error / self.logit_std if self.logit_std else self.mean_abs_error


@dataclass(frozen=True, slots=True, kw_only=True)
class ParityReport:
    """The parity of every artifact of a bundle.

    Attributes:
        images: What was compared on: the name of the data, or ``noise``.
        num_images: How many.
        threshold: The confidence at which ``exit_agreement`` stops; None for never.
        gates: What the rows of an artifact are held to, by ``FORMAT-PRECISION``.
        rows: One per artifact and exit; none for the artifact that is the reference.
        steps: One per training artifact and trained array.
        max_gradient_error: What these are held to, as a share of the array's largest gradient.
        reference: What the rows compare with.
        schema_version: Of this document.
    """

    images: str
    num_images: int
    threshold: float | None
    gates: dict[str, Gate]
    rows: tuple[ParityRow, ...]
    steps: tuple[StepRow, ...] = ()
    max_gradient_error: float = MAX_GRADIENT_ERROR
    reference: ReferenceKind = "network"
    schema_version: int = 2


def compare(
    artifact: Artifact, expected: list[Logits], actual: list[Logits], *, threshold: float | None
) -> tuple[ParityRow, ...]:
    """Compare the logits (N, C) of every exit.

    Args:
        artifact: What gave ``actual``.
        expected: The network's logits, exit by exit.
        actual: The artifact's.
        threshold: The confidence at which to stop; None for never.
    """
    return tuple(
        ParityRow(
            target=artifact.target,
            precision=artifact.precision,
            exit_index=exit_index,
            max_abs_error=float(np.abs(logits - reference).max()),
            mean_abs_error=float(np.abs(logits - reference).mean()),
            logit_std=float(reference.std()),
            top1_agreement=float((logits.argmax(1) == reference.argmax(1)).mean()),
            exit_agreement=(
                None
                if threshold is None
                else _exit_agreement(
                    expected[: exit_index + 1], actual[: exit_index + 1], threshold
                )
            ),
        )
        for exit_index, (reference, logits) in enumerate(zip(expected, actual, strict=True))
    )


def _exit_agreement(expected: list[Logits], actual: list[Logits], threshold: float) -> float:
    policy = ConfidencePolicy((threshold,))
    taken = [exits_taken(policy, np.stack(logits)) for logits in (expected, actual)]
    return float((taken[0] == taken[1]).mean())


def problems(row: ParityRow, gate: Gate, *, is_trained: bool) -> Iterator[str]:
    """Say in which ways a row fails a gate; logits that are no numbers fail every one.

    Args:
        row: The row.
        gate: What it is held to.
        is_trained: The weights are trained, so that shares of agreement mean something.
    """
    if not np.isfinite(row.max_abs_error):
        yield f"by {row.max_abs_error}: its logits, or the network's, are no finite numbers"
        return
    mean_error = row.mean_error_share
    if gate.max_abs_error is not None and not row.max_abs_error <= gate.max_abs_error:
        yield f"by {row.max_abs_error:.2g}, more than {gate.max_abs_error:g}"
    if gate.max_mean_error is not None and not mean_error <= gate.max_mean_error:
        yield f"by {mean_error:.2g} of the logits' spread, more than {gate.max_mean_error:g}"
    if not is_trained:
        return
    agreements = (
        (row.top1_agreement, gate.min_top1_agreement, "class"),
        (row.exit_agreement, gate.min_exit_agreement, "decision where to stop"),
    )
    for share, least, what in agreements:
        if share is not None and least is not None and not share >= least:
            yield f"in the {what} of {1 - share:.1%} of images, more than {1 - least:.1%}"


def check_parity(rows: tuple[ParityRow, ...], gate: Gate, *, is_trained: bool) -> None:
    """Refuse an artifact that does not compute the same.

    Args:
        rows: One per exit.
        gate: What they are held to.
        is_trained: The weights are trained.

    Raises:
        ParityError: An exit is off; the first is named.
    """
    for row in rows:
        for problem in problems(row, gate, is_trained=is_trained):
            raise ParityError(
                f"{row.target} {row.precision} differs from the network at exit {row.exit_index} "
                f"{problem}"
            )


def worst_row(rows: Sequence[ParityRow]) -> ParityRow:
    """Return the worst of every figure; an error that is no number is larger than any."""
    agreements = [row.exit_agreement for row in rows if row.exit_agreement is not None]
    return replace(
        rows[0],
        max_abs_error=float(np.max([row.max_abs_error for row in rows])),
        mean_abs_error=float(np.max([row.mean_abs_error for row in rows])),
        top1_agreement=min(row.top1_agreement for row in rows),
        exit_agreement=min(agreements, default=None),
    )


def chain_logits(
    runtime: Runtime, images: NDArray[np.uint8], *, num_exits: int, batch_size: int = BATCH_SIZE
) -> list[Logits]:
    """Run images through all segments, so many at once; return the logits (N, C) of every exit.

    Args:
        runtime: What runs them.
        images: uint8, (N, H, W, 3); repeated from the first to fill the last batch.
        num_exits: How many segments there are.
        batch_size: Images at once.
    """
    padded = np.resize(images, (-(-len(images) // batch_size) * batch_size, *images.shape[1:]))
    batches = np.split(padded, len(padded) // batch_size)
    per_batch = [run_chain(runtime, batch, num_exits=num_exits) for batch in batches]
    return [np.concatenate(logits)[: len(images)] for logits in zip(*per_batch, strict=True)]

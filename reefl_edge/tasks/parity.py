"""Does a bundle still compute what its network computes, on whose images, and held to what?"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from reefl_edge.bundles.artifacts import float32_onnx
from reefl_edge.bundles.bundle import Bundle
from reefl_edge.bundles.thresholds import check_threshold
from reefl_edge.errors import InputError
from reefl_edge.tasks.exporting import read_images
from reefl_edge.tasks.models import Model, open_model
from reefl_export.images import noise
from reefl_export.parity.comparison import ParityReport
from reefl_export.parity.gate import Gate
from reefl_export.parity.recheck import failures, gates_of, recheck, step_failures

DEFAULT_NUM_IMAGES = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class ParityRequest:
    """What to compare the artifacts of a bundle with, and on what.

    Attributes:
        model: The model that was exported; None for the bundle's own float32 ONNX.
        data: Images to compare on (``read_pictures``); None for noise.
        num_images: How many to take of them at most.
        threshold: The confidence at which to stop; None for what the bundle's artifacts share.
        gate: What to hold every artifact to; of what is None, to what the export was held to.

    Raises:
        ValueError: The threshold is not in (0, 1].
    """

    model: Model | None = None
    data: str | Path | None = None
    num_images: int = DEFAULT_NUM_IMAGES
    threshold: float | None = None
    gate: Gate = field(default_factory=Gate)

    def __post_init__(self) -> None:
        if self.threshold is not None:
            check_threshold(self.threshold)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rechecked:
    """How the artifacts of a bundle compare with its network.

    Attributes:
        report: A row per artifact and exit, and what each was held to.
        failures: What is wrong with the rows that fail, by artifact and exit.
        step_failures: What is wrong with training steps, by artifact and array.
    """

    report: ParityReport
    failures: Mapping[tuple[str, int], str]
    step_failures: Mapping[tuple[str, str], str]


def recheck_bundle(
    bundle: Bundle,
    request: ParityRequest | None = None,
    *,
    on_stage: Callable[[str], None] = lambda _: None,
) -> Rechecked:
    """Compare every artifact of a bundle with the network, exit by exit.

    Args:
        bundle: The bundle.
        request: With what, and on what; None for its own weights, on noise.
        on_stage: Called with the name of each artifact before it is compared.

    Raises:
        InputError: A file is missing or damaged, the network is another one than the bundle's, or
            the bundle holds no float32 weights and no model was given.
        ValueError: Stops are held to a share, and there is no threshold to stop at.
        MissingToolchainError: A runtime is not installed.
        ParityError: An artifact cannot be run.
    """
    request = request or ParityRequest()
    model = request.model or _own_model(bundle)
    threshold = request.threshold
    if threshold is None:
        threshold = bundle.manifest.common_threshold
    if request.gate.min_exit_agreement is not None and threshold is None:
        raise ValueError(
            "the bundle stores no threshold that its artifacts share: give one (--threshold)"
        )
    gates = {name: gate.replaced(request.gate) for name, gate in gates_of(bundle).items()}
    images = read_images(
        request.data,
        image_size=model.image_size,
        class_names=model.class_names,
        limit=request.num_images,
    )
    report = recheck(
        bundle,
        model.checkpoint,
        images or noise(model.checkpoint.submodel),
        threshold=threshold,
        gates=gates,
        on_stage=on_stage,
    )
    is_trained = not bundle.manifest.has_random_weights
    return Rechecked(
        report=report,
        failures=failures(report, is_trained=is_trained),
        step_failures=step_failures(report),
    )


def _own_model(bundle: Bundle) -> Model:
    if float32_onnx(bundle.manifest.artifacts) is None:
        raise InputError(
            f"{bundle.directory} holds no float32 weights (no onnx-fp32): say with --model what "
            "was exported"
        )
    return open_model(bundle.directory)

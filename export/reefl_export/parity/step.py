"""Does a compiled training step change every array as the network's own step does?

One step from the same start, on the same images. What is compared is each array's gradient, read
off what the step changed: the step is so large that next to it the array itself is nothing.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, assert_never

import numpy as np
from numpy.typing import NDArray

from reefl_edge import schema
from reefl_edge.array_files.safetensors import Arrays
from reefl_edge.bundles.artifacts import Target
from reefl_edge.bundles.bundle import Bundle
from reefl_edge.bundles.training import TrainingStep
from reefl_edge.checkpoints.checkpoint import Checkpoint
from reefl_edge.errors import ParityError
from reefl_edge.extras import needs_extra
from reefl_edge.finetune.steppers.base import Stepper
from reefl_edge.regimes import Regime
from reefl_export.images import NamedImages

# Of an array's largest gradient; float32 sums of another order differ by less than 1e-5.
MAX_GRADIENT_ERROR = 1e-4
# A power of two, so that dividing by it gives back the gradient.
_LEARNING_RATE = 2.0**20
# Of the largest gradient of all: what is smaller is rounding, as of an array that changes nothing.
_LEAST_GRADIENT = 1e-4
_RUNNING_LOSSES = "running_losses"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRow:
    """How the gradient of one array in a compiled step compares with the network's own.

    Attributes:
        target: The artifact's format.
        regime: What it trains.
        array: The array's name; ``running_losses`` for these, which have no gradient.
        max_abs_error: Largest absolute difference of an element.
        largest: What that is small against: the largest element of the array's gradient, but not
            less than a ten-thousandth of the largest of all.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"ser_json_inf_nan": "strings"}

    target: Target
    regime: Regime
    array: str
    max_abs_error: schema.AnyFloat
    largest: schema.AnyFloat

    @property
    def artifact(self) -> str:
        """The artifact's name in reports."""
        return f"{self.target} {self.regime} training"

    @property
    def error_share(self) -> float:
        """The error over what it is small against."""
        return self.max_abs_error / self.largest if self.largest else self.max_abs_error


def compare_step(
    bundle: Bundle,
    step: TrainingStep,
    target: Target,
    start: Checkpoint,
    images: NamedImages,
    *,
    threads: int,
) -> tuple[StepRow, ...]:
    """Compare a compiled step of a bundle with the step of the network.

    Args:
        bundle: The bundle.
        step: What its manifest says of the step.
        target: The format.
        start: What training starts from.
        images: What to train on: repeated from the first, or cut, to fill one batch.
        threads: Threads to run both with.

    Returns:
        A row for each trained array, and one for the running losses.

    Raises:
        InputError: A file of the artifact is missing or changed.
        MissingToolchainError: Its runtime is not installed.
    """
    pixels = np.resize(images.pixels, (step.batch_size, *images.pixels.shape[1:]))
    labels = np.arange(step.batch_size) % start.submodel.architecture.num_classes
    with needs_extra("comparing a training step", "torch", "train"):
        from reefl_edge.finetune.steppers.eager import EagerStepper
        from reefl_edge.models.arrays import network_from

    compiled = _stepper(bundle, step, target, threads)
    eager = EagerStepper(network_from(start.submodel, start.arrays), threads=threads)
    found = _gradients(compiled, pixels, labels)
    expected = _gradients(eager, pixels, labels)
    least = _LEAST_GRADIENT * max(_largest(each) for each in expected.values())
    return tuple(
        StepRow(
            target=target,
            regime=step.submodel.regime,
            array=name,
            max_abs_error=_largest(found[name] - gradient),
            largest=max(_largest(gradient), least),
        )
        for name, gradient in expected.items()
    )


def _stepper(bundle: Bundle, step: TrainingStep, target: Target, threads: int) -> Stepper:
    match target:
        case "onnx":
            from reefl_edge.finetune.steppers.onnx import OnnxStepper

            return OnnxStepper.open(bundle, step, threads=threads)
        case "executorch":
            from reefl_edge.finetune.steppers.executorch import ExecuTorchStepper

            return ExecuTorchStepper.open(bundle, step, threads=threads)
        case "coreml":
            raise ParityError(f"no training step is compiled to {target}")
        case _:
            assert_never(target)


def _gradients(stepper: Stepper, pixels: NDArray[np.uint8], labels: NDArray[np.int64]) -> Arrays:
    """Return what one step finds: the gradient of each array, and the running losses."""
    before = stepper.arrays()
    stepper.step(pixels, labels, learning_rate=_LEARNING_RATE, distill_weight=1.0, teaches=None)
    gradients = {
        name: (before[name] - array) / np.float32(_LEARNING_RATE)
        for name, array in stepper.arrays().items()
    }
    return gradients | {_RUNNING_LOSSES: stepper.running_losses}


def _largest(array: NDArray[np.float32]) -> float:
    return float(np.abs(array).max())


def step_problems(row: StepRow, limit: float) -> Iterator[str]:
    """Say in which way a row fails a limit; a gradient that is no number fails every one."""
    if not np.isfinite(row.max_abs_error):
        yield f"by {row.max_abs_error}: a gradient is no finite number"
    elif not row.error_share <= limit:
        yield f"by {row.error_share:.2g} of its largest gradient, more than {limit:g}"


def check_steps(rows: Sequence[StepRow], limit: float = MAX_GRADIENT_ERROR) -> None:
    """Refuse a compiled step that does not compute the same.

    Raises:
        ParityError: An array is off; the first is named.
    """
    for row in rows:
        for problem in step_problems(row, limit):
            raise ParityError(
                f"{row.artifact} differs from the network's step in {row.array} {problem}"
            )

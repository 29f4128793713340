"""What comes back from a job?

An *outcome* is one JSON document, and exactly one of four things, told apart by its ``kind``: a
measurement; answers to images; a training, whose update is left in a file; or a failure with a code
from a closed list. A code stands for one of our errors, here and nowhere else: readers in other
languages know the codes. Each names the job that it came from by the hash of that document's bytes.
"""

from dataclasses import dataclass
from math import isfinite
from typing import Annotated, ClassVar, Final, Literal, Self

from reefl_edge import errors, schema
from reefl_edge.answers import ImageAnswer
from reefl_edge.errors import ReeflEdgeError
from reefl_edge.jobs.disturbances import Disturbances
from reefl_edge.schema import Sha256

SCHEMA_VERSION: Final = 1

# More milliseconds or MiB than anything here takes (11 days, 950 TiB): beyond is a mistake.
LARGEST = 1e9

FailureCode = Literal[
    "input",
    "device",
    "missing-toolchain",
    "parity",
    "divergence",
    "budget",
    "measurement",
]

# What is raised here for a code; an error is told by the first of its codes.
_ERRORS: dict[FailureCode, type[ReeflEdgeError]] = {
    "input": errors.InputError,
    "device": errors.DeviceError,
    "missing-toolchain": errors.MissingToolchainError,
    "parity": errors.ParityError,
    "divergence": errors.DivergenceError,
    "budget": errors.BudgetError,
    "measurement": errors.MeasurementError,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sitting:
    """What one process found, beside its samples, in a measurement that several took.

    Attributes:
        num_samples: How many of the samples are its.
        load_ms: As for the measurement.
        first_run_ms: As for the measurement.
        disturbances: What happened beside it meanwhile.
    """

    num_samples: int
    load_ms: float
    first_run_ms: float
    disturbances: Disturbances


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """What measuring processes found, one or several.

    Attributes:
        latency_ms_samples: Wall time of each run at steady state.
        cpu_ms_samples: Processor time of each of these runs, all threads together.
        load_ms: From files, or from a description, to a model that is ready to run; the check of a
            bundle's hashes included.
        first_run_ms: The first run, which still allocates and, in some runtimes, compiles.
        baseline_mib: Resident memory after the imports, before the model is loaded.
        peak_mib: The most resident memory from then on, the baseline included.
        wait_ms_samples: How long, in each of these runs, threads were ready and waited for a core,
            all together; None where the system does not say.
        sittings: The processes that took the samples, one after the other; empty in documents of
            before they were told apart.
    """

    latency_ms_samples: tuple[float, ...]
    cpu_ms_samples: tuple[float, ...]
    load_ms: float
    first_run_ms: float
    baseline_mib: float
    peak_mib: float
    wait_ms_samples: tuple[float, ...] | None = None
    sittings: tuple[Sitting, ...] = ()

    def __post_init__(self) -> None:
        samples, waits = self.latency_ms_samples, self.wait_ms_samples
        if not samples or len(samples) != len(self.cpu_ms_samples):
            raise ValueError(
                f"{len(samples)} samples of latency and {len(self.cpu_ms_samples)} of processor "
                "time; need as many of both, and at least one"
            )
        if not all(0 < latency <= LARGEST for latency in samples):
            raise ValueError("a latency is no positive number of milliseconds")
        if waits is not None and len(waits) != len(samples):
            raise ValueError(f"{len(samples)} samples of latency, but {len(waits)} of waiting")
        shares = [sitting.num_samples for sitting in self.sittings]
        if shares and (min(shares) < 1 or sum(shares) != len(samples)):
            raise ValueError(f"sittings of {shares} samples do not make up {len(samples)}")
        others = (
            *self.cpu_ms_samples,
            *(waits or ()),
            *(sitting.load_ms for sitting in self.sittings),
            *(sitting.first_run_ms for sitting in self.sittings),
            self.load_ms,
            self.first_run_ms,
            self.baseline_mib,
            self.peak_mib,
        )
        if not all(0 <= amount <= LARGEST for amount in others):
            raise ValueError("a time or an amount of memory is negative, or no number")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """The process has measured what the job asked for.

    Attributes:
        measurement: What it found.
        job_sha256: Which job it was; None in documents of before outcomes said so.
        kind: What tells this outcome from others.
        schema_version: Of this document.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    measurement: Measurement
    job_sha256: Sha256 | None = None
    kind: Literal["measurement"] = "measurement"
    schema_version: Literal[1] = SCHEMA_VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """The process has trained as the job asked for, and left an update.

    Attributes:
        update_sha256: Of the update's file.
        num_examples: How many examples were trained on.
        losses: The loss of every step, before the step.
        teacher_counts: On how many batches each exit taught.
        job_sha256: Which job it was.
        kind: What tells this outcome from others.
        schema_version: Of this document.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    update_sha256: Sha256
    num_examples: int
    losses: tuple[float, ...]
    teacher_counts: tuple[int, ...]
    job_sha256: Sha256 | None = None
    kind: Literal["training"] = "training"
    schema_version: Literal[1] = SCHEMA_VERSION

    def __post_init__(self) -> None:
        if not self.losses or self.num_examples < 1:
            raise ValueError("nothing was trained: no step, or no example")
        if not self.teacher_counts or min(self.teacher_counts) < 0:
            raise ValueError(f"exits taught {self.teacher_counts} batches")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """The process has classified the images of the job.

    Attributes:
        answers: What it says of each, in their order.
        job_sha256: Which job it was.
        kind: What tells this outcome from others.
        schema_version: Of this document.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    answers: tuple[ImageAnswer, ...]
    job_sha256: Sha256 | None = None
    kind: Literal["answers"] = "answers"
    schema_version: Literal[1] = SCHEMA_VERSION

    def __post_init__(self) -> None:
        if not self.answers:
            raise ValueError("nothing was answered: there was no image")
        for answer in self.answers:
            if min(answer.class_index, answer.exit_index) < 0:
                raise ValueError(
                    "classes and exits are counted from 0, an answer has "
                    f"{answer.class_index} and {answer.exit_index}"
                )
            if not 0 <= answer.confidence <= 1:
                raise ValueError(
                    f"a confidence lies between 0 and 1, an answer has {answer.confidence:g}"
                )
            if not 0 <= answer.latency_ms <= LARGEST:
                raise ValueError("the time of an answer is negative, or no number")
            if answer.logits is not None and not all(map(isfinite, answer.logits)):
                raise ValueError("a logit of an answer is no number")


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The process could not do its job, for a reason that a user can act on.

    Attributes:
        code: What sort of reason.
        message: The reason, in one line.
        job_sha256: Which job it was; None in documents of before outcomes said so.
        kind: What tells this outcome from others.
        schema_version: Of this document.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    code: FailureCode
    message: str
    job_sha256: Sha256 | None = None
    kind: Literal["failure"] = "failure"
    schema_version: Literal[1] = SCHEMA_VERSION

    def __post_init__(self) -> None:
        if len(self.message.splitlines()) > 1:
            raise ValueError(f"a failure is told in one line, got {self.message!r:.200}")

    @classmethod
    def of(cls, error: ReeflEdgeError) -> Self:
        """Tell an error."""
        code = next(code for code, kind in _ERRORS.items() if isinstance(error, kind))
        return cls(code=code, message=str(error))

    def error(self) -> ReeflEdgeError:
        """Return the error that was told."""
        return _ERRORS[self.code](self.message)


Outcome = Annotated[
    Annotated[Measured, schema.variant("measurement")]
    | Annotated[Trained, schema.variant("training")]
    | Annotated[Answered, schema.variant("answers")]
    | Annotated[Failed, schema.variant("failure")],
    schema.tagged_union("an outcome is a measurement, a training, answers or a failure"),
]


def read_outcome(text: str | bytes, *, source: str) -> Outcome:
    """Read an outcome from JSON.

    Args:
        text: The document.
        source: Where it comes from, for the message.

    Raises:
        InputError: It is no outcome, or one of a newer version.
    """
    outcome: Outcome = schema.from_versioned_json(
        Outcome, text, source=source, newest=SCHEMA_VERSION
    )
    return outcome

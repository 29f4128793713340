"""What is one device asked to do, in one fresh process?

A *job* is one JSON document that says everything: it travels to wherever the process runs, this
machine, a board or a phone, so that all do the same. What it needs beside is named by hash
(``sources.py``). Its ``kind`` says what it is: ``inference`` and ``step`` measure, ``infer``
answers, ``finetune`` trains.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Final, Literal

from reefl_edge import schema
from reefl_edge.bundles.artifacts import Precision
from reefl_edge.bundles.thresholds import check_threshold
from reefl_edge.finetune.training import LocalTraining
from reefl_edge.jobs.sources import BundleFolder, ModelSource, StoredModel
from reefl_edge.runtimes.base import RuntimeName
from reefl_edge.schema import Sha256
from reefl_edge.submodel import Regime, Submodel

SCHEMA_VERSION: Final = 1

# What is measured.
Kind = Literal["inference", "step"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How long to measure: at least so many samples and seconds, whatever takes longer.

    Attributes:
        warmup_runs: Runs before the first sample, beside the first run, which is timed apart.
        min_samples: Samples to take, unless ``max_seconds`` ends it.
        min_seconds: Time to spend on samples, unless ``max_seconds`` ends it.
        max_seconds: When to stop; one sample is always taken.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    warmup_runs: int
    min_samples: int
    min_seconds: float
    max_seconds: float

    def __post_init__(self) -> None:
        if self.warmup_runs < 0 or self.min_samples < 1:
            raise ValueError(
                f"need 0 or more warm-up runs and 1 or more samples, got {self.warmup_runs} and "
                f"{self.min_samples}"
            )
        if not 0 <= self.min_seconds <= self.max_seconds:
            raise ValueError(
                f"cannot measure for at least {self.min_seconds:g} s and at most "
                f"{self.max_seconds:g} s"
            )


# Of one process among several. A step on a batch takes seconds where one image takes tens of
# milliseconds.
INFERENCE_PLAN = Plan(warmup_runs=5, min_samples=20, min_seconds=0.5, max_seconds=10.0)
STEP_PLAN = Plan(warmup_runs=1, min_samples=5, min_seconds=0.5, max_seconds=15.0)
# The first run allocates nearly all; the second, beside what the first left, the rest.
MEMORY_PLAN = Plan(warmup_runs=0, min_samples=2, min_seconds=0.0, max_seconds=15.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class InferenceJob:
    """Measure inference up to the sub-model's deepest exit.

    Attributes:
        submodel: The sub-model, already cut at the exit to measure.
        source: Where its weights come from.
        runtime: What runs it.
        precision: Of weights and activations.
        threads: Threads to compute with.
        batch_size: Images at once.
        plan: How long to measure.
        cores: The cores to compute on, as the system there counts them; None for any.
        kind: What tells this job from others.
        schema_version: Of this document.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    submodel: Submodel
    source: ModelSource
    runtime: RuntimeName
    precision: Precision
    threads: int
    batch_size: int
    plan: Plan
    cores: tuple[int, ...] | None = None
    kind: Literal["inference"] = "inference"
    schema_version: Literal[1] = SCHEMA_VERSION

    def __post_init__(self) -> None:
        _check_counts(self.threads, self.batch_size)
        _check_cores(self.cores)
        _check_runs(self.runtime, self.source)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepJob:
    """Measure one fine-tuning step of a sub-model.

    Attributes:
        submodel: The sub-model, already cut at the exit to measure; its regime is the step's.
        source: Where its weights come from; for a compiled step the bundle that holds it.
        runtime: What computes it: eager, or what the step was compiled for.
        precision: Of weights and activations.
        threads: Threads to compute with.
        batch_size: Images of a step; what it was compiled for.
        plan: How long to measure.
        cores: The cores to compute on, as the system there counts them; None for any.
        kind: What tells this job from others.
        schema_version: Of this document.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    submodel: Submodel
    source: ModelSource
    runtime: RuntimeName
    precision: Precision
    threads: int
    batch_size: int
    plan: Plan
    cores: tuple[int, ...] | None = None
    kind: Literal["step"] = "step"
    schema_version: Literal[1] = SCHEMA_VERSION

    def __post_init__(self) -> None:
        _check_counts(self.threads, self.batch_size)
        _check_cores(self.cores)
        if (self.runtime == "eager") == isinstance(self.source, BundleFolder):
            raise ValueError(
                "a fine-tuning step runs on eager, from a checkpoint or random weights, or was "
                f"compiled into a bundle; got {self.runtime} and {type(self.source).__name__}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class InferJob:
    """Classify images, each stopping at the first exit that is confident enough.

    Attributes:
        source: Where the model comes from.
        max_exit: The deepest exit to run.
        images: A file of 8-bit images at the model's size, .npy, uint8 (N, H, W, 3).
        thresholds: Confidence at which to stop, one per exit but the last; None for the bundle's.
        runtime: What runs it.
        precision: Of weights and activations.
        threads: Threads to compute with.
        batch_size: Images at once.
        wants_logits: Whether each answer is to have its logits.
        kind: What tells this job from others.
        schema_version: Of this document.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    source: StoredModel
    max_exit: int
    images: Sha256
    thresholds: tuple[float, ...] | None
    runtime: RuntimeName
    precision: Precision
    threads: int
    batch_size: int
    wants_logits: bool = False
    kind: Literal["infer"] = "infer"
    schema_version: Literal[1] = SCHEMA_VERSION

    def __post_init__(self) -> None:
        _check_counts(self.threads, self.batch_size)
        _check_exit(self.max_exit)
        _check_runs(self.runtime, self.source)
        if self.thresholds is not None:
            _check_thresholds(self.thresholds, self.max_exit)


@dataclass(frozen=True, slots=True, kw_only=True)
class FinetuneJob:
    """Train a client's sub-model on its own data, and leave an update.

    Attributes:
        source: Where the model comes from.
        max_exit: The depth that the client trains.
        regime: Which arrays are trained.
        start: An update with the trained arrays to start from; None for the source's own.
        dataset: A file of labelled 8-bit images at the model's size, .npz: ``images``, uint8
            (N, H, W, 3), and ``labels``, int64 (N,).
        order: Which example comes when, 0-based, all epochs one after the other.
        training: The settings.
        threads: Threads to compute with.
        kind: What tells this job from others.
        schema_version: Of this document.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    source: StoredModel
    max_exit: int
    regime: Regime
    start: Sha256 | None
    dataset: Sha256
    order: tuple[int, ...]
    training: LocalTraining
    threads: int
    kind: Literal["finetune"] = "finetune"
    schema_version: Literal[1] = SCHEMA_VERSION

    def __post_init__(self) -> None:
        _check_counts(self.threads, self.training.batch_size)
        _check_exit(self.max_exit)
        if not self.order or min(self.order) < 0:
            raise ValueError("the order names no example, or one before the first")


MeasurementJob = InferenceJob | StepJob
Job = Annotated[
    Annotated[InferenceJob, schema.variant("inference")]
    | Annotated[StepJob, schema.variant("step")]
    | Annotated[InferJob, schema.variant("infer")]
    | Annotated[FinetuneJob, schema.variant("finetune")],
    schema.tagged_union("the kind of a job is inference, step, infer or finetune"),
]


def read_job(text: str | bytes, *, source: str) -> Job:
    """Read a job from JSON.

    Args:
        text: The document.
        source: Where it comes from, for the message.

    Raises:
        InputError: It is no job, or one of a newer version.
    """
    job: Job = schema.from_versioned_json(Job, text, source=source, newest=SCHEMA_VERSION)
    return job


def _check_counts(threads: int, batch_size: int) -> None:
    if threads < 1 or batch_size < 1:
        raise ValueError(f"need at least 1 thread and a batch of 1, got {threads} and {batch_size}")


def _check_cores(cores: tuple[int, ...] | None) -> None:
    if cores is not None and (not cores or min(cores) < 0 or len(set(cores)) < len(cores)):
        raise ValueError(f"cores are each named once, and counted from 0, got {cores}")


def _check_exit(max_exit: int) -> None:
    if max_exit < 0:
        raise ValueError(f"exits are counted from 0, got {max_exit}")


def _check_runs(runtime: RuntimeName, source: ModelSource) -> None:
    if runtime != "eager" and not isinstance(source, BundleFolder):
        raise ValueError(f"{runtime} runs a bundle, got {type(source).__name__}")


def _check_thresholds(thresholds: tuple[float, ...], max_exit: int) -> None:
    if len(thresholds) != max_exit:
        raise ValueError(f"{len(thresholds)} thresholds for {max_exit} exits before the last")
    for threshold in thresholds:
        check_threshold(threshold)

"""What is measured in one fresh process, and what comes back?

A *job* says everything a measuring process needs; it travels as JSON to wherever the process runs,
so that this machine, and later a phone or a board, measure the same thing.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from reefl_edge.manifest import Precision
from reefl_edge.runtimes.base import RuntimeName
from reefl_edge.submodel import Submodel

Kind = Literal["inference", "step"]

# More milliseconds or MiB than anything here takes (11 days, 950 TiB): beyond is a mistake.
LARGEST = 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleFolder:
    """The model is in a bundle; its runtimes load what was exported."""

    bundle: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointFile:
    """The model is in a checkpoint, whose arrays go at least to the depth that is measured."""

    checkpoint: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomWeights:
    """The model has random weights: it computes nothing of use, at the true cost."""

    seed: int = 0


ModelSource = BundleFolder | CheckpointFile | RandomWeights


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How long to measure: at least so many samples and seconds, whatever takes longer.

    Attributes:
        warmup_runs: Runs before the first sample, beside the first run, which is timed apart.
        min_samples: Samples to take, unless ``max_seconds`` ends it.
        min_seconds: Time to spend on samples, unless ``max_seconds`` ends it.
        max_seconds: When to stop; one sample is always taken.
    """

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


# A step on a batch takes seconds where one image takes tens of milliseconds.
INFERENCE_PLAN = Plan(warmup_runs=5, min_samples=50, min_seconds=1.0, max_seconds=20.0)
STEP_PLAN = Plan(warmup_runs=1, min_samples=10, min_seconds=1.0, max_seconds=30.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One thing to measure in one fresh process.

    Attributes:
        kind: Inference up to the sub-model's deepest exit, or one fine-tuning step of it.
        runtime: What runs it; a step runs on eager.
        precision: Of weights and activations.
        threads: Threads to compute with.
        batch_size: Images at once.
        submodel: The sub-model, already cut at the exit to measure; its regime is the step's.
        source: Where its weights come from.
        plan: How long to measure.
    """

    kind: Kind
    runtime: RuntimeName
    precision: Precision
    threads: int
    batch_size: int
    submodel: Submodel
    source: ModelSource
    plan: Plan

    def __post_init__(self) -> None:
        if self.threads < 1 or self.batch_size < 1:
            raise ValueError(
                f"need at least 1 thread and a batch of 1, got {self.threads} and {self.batch_size}"
            )
        is_bundle = isinstance(self.source, BundleFolder)
        if self.kind == "step" and (self.runtime != "eager" or is_bundle):
            raise ValueError(
                "a fine-tuning step runs on eager, from a checkpoint or random weights; got "
                f"{self.runtime} and {type(self.source).__name__}"
            )
        if self.runtime != "eager" and not is_bundle:
            raise ValueError(f"{self.runtime} runs a bundle, got {type(self.source).__name__}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """What a measuring process found.

    Attributes:
        latency_ms_samples: Wall time of each run at steady state.
        cpu_ms_samples: Processor time of each of these runs, all threads together.
        load_ms: From files, or from a description, to a model that is ready to run; the check of a
            bundle's hashes included.
        first_run_ms: The first run, which still allocates and, in some runtimes, compiles.
        baseline_mib: Resident memory after the imports, before the model is loaded.
        peak_mib: The most resident memory from then on, the baseline included.
    """

    latency_ms_samples: tuple[float, ...]
    cpu_ms_samples: tuple[float, ...]
    load_ms: float
    first_run_ms: float
    baseline_mib: float
    peak_mib: float

    def __post_init__(self) -> None:
        samples = self.latency_ms_samples
        if not samples or len(samples) != len(self.cpu_ms_samples):
            raise ValueError(
                f"{len(samples)} samples of latency and {len(self.cpu_ms_samples)} of processor "
                "time; need as many of both, and at least one"
            )
        if not all(0 < latency <= LARGEST for latency in samples):
            raise ValueError("a latency is no positive number of milliseconds")
        others = (
            *self.cpu_ms_samples,
            self.load_ms,
            self.first_run_ms,
            self.baseline_mib,
            self.peak_mib,
        )
        if not all(0 <= amount <= LARGEST for amount in others):
            raise ValueError("a time or an amount of memory is negative, or no number")


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a measuring process could not do its job, in the words of a ``ReeflEdgeError``."""

    kind: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a measuring process writes when it ends by itself: exactly one of the two."""

    measurement: Measurement | None = None
    failure: Failure | None = None

    def __post_init__(self) -> None:
        if (self.measurement is None) == (self.failure is None):
            raise ValueError("an outcome is a measurement or a failure")

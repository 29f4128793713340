"""What is said of an exit that nobody measured, and how sure is it?

A *prediction* stands beside the rows of a report and is never one: it has no samples, and every
figure is an *estimate* with the interval that it will lie in nine times out of ten.
"""

from dataclasses import dataclass
from typing import Literal

from reefl_edge.bundles.artifacts import Precision
from reefl_edge.jobs.job import Kind
from reefl_edge.jobs.outcome import LARGEST
from reefl_edge.runtimes.base import RuntimeName
from reefl_edge.submodel import Regime

# Device, runtime, precision, threads, exit and kind: what no two rows of a report share.
RowKey = tuple[str, RuntimeName, Precision, int, int, Kind]

# What a prediction goes by: other rows of the model on the device, other models on the device, or
# nothing but the facts in the device's profile.
Basis = Literal["model", "device", "profile"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurand:
    """What a row measures, and a prediction computes.

    Attributes:
        device: Where.
        runtime: What runs it.
        precision: Of weights and activations.
        threads: Threads that compute.
        exit_index: How deep.
        kind: Inference up to the exit, or one fine-tuning step of the sub-model cut there.
        batch_size: Images at once.
    """

    device: str
    runtime: RuntimeName
    precision: Precision
    threads: int
    exit_index: int
    kind: Kind
    batch_size: int

    def __post_init__(self) -> None:
        if self.threads < 1 or self.batch_size < 1 or self.exit_index < 0:
            raise ValueError(
                f"no {type(self).__name__.lower()} has {self.threads} threads, a batch of "
                f"{self.batch_size} and exit {self.exit_index}"
            )

    @property
    def key(self) -> RowKey:
        """What no two rows and predictions of a report share."""
        return (
            self.device,
            self.runtime,
            self.precision,
            self.threads,
            self.exit_index,
            self.kind,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A figure that was computed, not measured.

    Attributes:
        value: The figure.
        low: Where it lies nine times out of ten, from here ...
        high: ... to here.
    """

    value: float
    low: float
    high: float

    def __post_init__(self) -> None:
        if not 0 < self.low <= self.value <= self.high <= LARGEST:
            raise ValueError(
                f"an estimate of {self.value:g} does not lie between {self.low:g} and {self.high:g}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction(Measurand):
    """What an exit will take, and what was predicted.

    Attributes:
        device: Where.
        runtime: What would run it.
        precision: Of weights and activations.
        threads: Threads to compute with.
        exit_index: How deep.
        kind: Inference up to the exit, or one fine-tuning step of the sub-model cut there.
        batch_size: Images at once.
        regime: Which arrays the step trains; None for inference.
        p50_ms: Median latency.
        p90_ms: The latency that budgets are held against.
        memory_mib: Most memory above the process's own level.
        basis: What it goes by.
    """

    regime: Regime | None
    p50_ms: Estimate
    p90_ms: Estimate
    memory_mib: Estimate
    basis: Basis

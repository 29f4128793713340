"""What would an exit take that nobody measured?

A roofline: the products at the rate that the threads reach at most; what is written, by one thread;
an overhead per segment, and another for each thread that the others wait for; and never less than
the weights take to come from memory. What part of the most a program really reaches is calibrated
on reports, apart for each runtime, precision and kind: 8-bit products are nothing but another
precision. How far off that is follows from leaving out, and is widened for a device that no report
is of; what is smaller than all that was measured may take as long as the smallest of it, or as
little as if nothing but products took time, since no figure tells its overheads. A p90 lies above
its p50 by as much as others did.

Sources: Williams, Waterman and Patterson 2009, Roofline. What is counted: ``cost.py``.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from math import exp, hypot, log
from statistics import fmean, pstdev
from typing import Literal, Self

from reefl_edge.bundles.artifacts import Precision
from reefl_edge.cost import Cost
from reefl_edge.devices.processor import Processor
from reefl_edge.devices.profiles import LOCAL_DEVICE
from reefl_edge.jobs.job import Kind
from reefl_edge.profiling.prediction import Basis, Estimate, Prediction
from reefl_edge.profiling.relative_fit import (
    Observation,
    Spread,
    Terms,
    fitted_weights,
    predicted,
    spread_across_devices,
    spread_across_models,
    spread_within_models,
)
from reefl_edge.profiling.report import Context, Report, Row, run_cost
from reefl_edge.runtimes.base import RuntimeName
from reefl_edge.submodel import Regime, Submodel

# By what factor another device may be off, nine times out of ten, for all that its profile does not
# say: how well its kernels, caches and cooling do. Assumed, until reports of three devices tell.
_UNSEEN_DEVICE = 2.0

_Figure = Literal["p50_ms", "peak_above_baseline_mib"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """Where exits are predicted.

    Attributes:
        name: Its name, in reports.
        cpu_name: What its processor calls itself; two machines called ``local`` differ in it.
        processor: What bounds how fast it computes.
    """

    name: str
    cpu_name: str
    processor: Processor

    @property
    def key(self) -> tuple[str, str | None]:
        """What tells it from others."""
        return _key(self.name, self.cpu_name)

    def is_of(self, report: Report) -> bool:
        """Tell whether a report was measured here, not in an emulation."""
        return report.context.is_real_hardware and _device_key(report) == self.key


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked of every exit of a sub-model.

    Attributes:
        submodel: The deepest sub-model.
        kind: Inference, or one fine-tuning step.
        runtime: What would run it.
        precision: Of weights and activations.
        threads: Threads to compute with.
        batch_size: Images at once.
        regime: Which arrays the step trains; None for inference.
    """

    submodel: Submodel
    kind: Kind
    runtime: RuntimeName
    precision: Precision
    threads: int
    batch_size: int
    regime: Regime | None

    def is_answered_by(self, row: Row) -> bool:
        """Tell whether a row is of the same thing, at some exit."""
        return (
            row.kind == self.kind
            and row.runtime == self.runtime
            and row.precision == self.precision
            and row.threads == self.threads
            and row.batch_size == self.batch_size
            and row.regime == self.regime
        )


class CostModel:
    """What reports say of exits that they did not measure.

    Args:
        reports: What was measured. Emulations of a device say nothing of its time, and are left
            out.
        processor_of: Called for the processor that a report was measured on.
    """

    def __init__(
        self, reports: Iterable[Report], processor_of: Callable[[Context], Processor]
    ) -> None:
        self._reports = [
            (report, processor_of(report.context))
            for report in reports
            if report.context.is_real_hardware
        ]

    def predict(
        self, device: Device, question: Question, exits: Sequence[int]
    ) -> tuple[Prediction, ...]:
        """Predict some exits of a sub-model on a device.

        Raises:
            ValueError: No report measured anything alike, or the device has fewer cores.
        """
        p50s = self._ranges(device, question, exits, "p50_ms", _time_terms)
        jitter = self._jitter(question)
        peaks = self._ranges(device, question, exits, "peak_above_baseline_mib", _memory_terms)
        basis = self._basis(device, question)
        return tuple(
            Prediction(
                device=device.name,
                runtime=question.runtime,
                precision=question.precision,
                threads=question.threads,
                exit_index=exit_index,
                kind=question.kind,
                batch_size=question.batch_size,
                regime=question.regime,
                p50_ms=p50.estimate,
                p90_ms=p50.times(jitter).estimate,
                memory_mib=peak.estimate,
                basis=basis,
            )
            for exit_index, p50, peak in zip(exits, p50s, peaks, strict=True)
        )

    def _ranges(
        self,
        device: Device,
        question: Question,
        exits: Sequence[int],
        figure: _Figure,
        terms_of: "_TermsOf",
    ) -> "list[_Range]":
        """Return where a figure lies at each exit."""
        is_time = terms_of is _time_terms
        alike = self._alike(question, figure)
        observations = [each.observation(terms_of, figure) for each in alike]
        weights = fitted_weights(observations)
        basis = self._basis(device, question)
        known = [each for each in observations if _is_known(each, device, question, basis)]
        half_width = _half_width(observations, basis, is_time=is_time)
        smallest = min(
            predicted(
                weights,
                terms_of(each.cost, device.processor, question, each.row.exit_index),
                known,
            )
            for each in alike
        )
        best = min(each.figure / each.terms[0] for each in observations)
        ranges = []
        for exit_index in exits:
            cost = _cost_of(question, exit_index)
            terms = terms_of(cost, device.processor, question, exit_index)
            value = predicted(weights, terms, known)
            if is_time:
                value = max(value, _from_memory_ms(cost, device.processor, question.precision))
            is_smaller = value < smallest
            ranges.append(
                _Range(
                    value=value,
                    least=min(value, best * terms[0]) if is_smaller else value,
                    most=smallest if is_smaller else value,
                    half_width=half_width,
                )
            )
        return ranges

    def _jitter(self, question: Question) -> "_Range":
        """Return by how much a p90 lies above its p50."""
        logs = [
            log(each.row.summary.p90_ms / each.row.summary.p50_ms)
            for each in self._alike(question, "p50_ms")
        ]
        value = exp(fmean(logs))
        half_width = Spread(log_error=pstdev(logs), num_independent=max(2, len(logs))).half_width
        return _Range(value=value, least=value, most=value, half_width=half_width)

    def _alike(self, question: Question, figure: _Figure) -> "list[_Measured]":
        """Return what was measured of the same kind, however deep and on however many threads.

        What was disturbed says little, and counts only where there is nothing else.
        """
        alike = [
            _Measured(report=report, processor=processor, row=row, cost=cost)
            for report, processor in self._reports
            for row in report.rows
            if _is_alike(row, question)
            and getattr(row.summary, figure) > 0
            and (cost := report.cost_of(row)) is not None
        ]
        if not alike:
            what = question.kind if question.kind == "inference" else "fine-tuning step"
            raise ValueError(
                f"no report to go by measured {what} on {question.runtime} in "
                f"{question.precision}; give one with --calibrate-from"
            )
        return [each for each in alike if each.row.summary.verdict == "valid"] or alike

    def _basis(self, device: Device, question: Question) -> Basis:
        """Return what is known of the device."""
        architecture = question.submodel.architecture
        bases: set[Basis] = {
            "model" if report.context.submodel.architecture == architecture else "device"
            for report, _ in self._reports
            for row in report.rows
            if device.is_of(report) and _is_alike(row, question)
        }
        if "model" in bases:
            return "model"
        return "device" if bases else "profile"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Range:
    """A figure, and how far its logarithm may lie from anything between two others."""

    value: float
    least: float
    most: float
    half_width: float

    @property
    def estimate(self) -> Estimate:
        """The figure with its interval, with four digits as the samples it goes by."""
        figures = (
            self.value,
            self.least / exp(self.half_width),
            self.most * exp(self.half_width),
        )
        value, low, high = (float(f"{figure:.4g}") for figure in figures)
        return Estimate(value=value, low=low, high=high)

    def times(self, other: Self) -> Self:
        """Return the product of two figures that know nothing of each other."""
        return replace(
            self,
            value=self.value * other.value,
            least=self.least * other.least,
            most=self.most * other.most,
            half_width=hypot(self.half_width, other.half_width),
        )


_TermsOf = Callable[[Cost, Processor, Question, int], Terms]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Measured:
    """A row, where it was measured, and what it takes."""

    report: Report
    processor: Processor
    row: Row
    cost: Cost

    def observation(self, terms_of: _TermsOf, figure: _Figure) -> Observation:
        question = question_of(self.report, self.row)
        return Observation(
            terms=terms_of(self.cost, self.processor, question, self.row.exit_index),
            figure=getattr(self.row.summary, figure),
            model=(_device_key(self.report), self.report.context.submodel.architecture),
            device=_device_key(self.report),
        )


def _time_terms(cost: Cost, processor: Processor, question: Question, exit_index: int) -> Terms:
    """Return what the latency may consist of, in milliseconds at the most that is possible."""
    num_segments = exit_index + 1
    return (
        cost.macs / processor.peak_gmacs(question.threads, question.precision) / 1e6,
        cost.written_bytes / processor.peak_gmacs(1, "fp32") / 1e6,
        num_segments / processor.fastest_ghz,
        num_segments * (question.threads - 1) / processor.fastest_ghz,
    )


def _memory_terms(cost: Cost, _processor: Processor, _question: Question, _exit: int) -> Terms:
    """Return what the memory may consist of, in MiB."""
    return (cost.weight_bytes / 2**20, cost.activation_bytes / 2**20, 1.0)


def _from_memory_ms(cost: Cost, processor: Processor, precision: Precision) -> float:
    """Return how long all weights take to come from memory once."""
    if processor.memory_gb_per_s is None:
        return 0.0
    weight_bytes = cost.weight_bytes / (4 if precision.startswith("int8") else 1)
    return weight_bytes / processor.memory_gb_per_s / 1e6


def _cost_of(question: Question, exit_index: int) -> Cost:
    return run_cost(
        question.submodel,
        exit_index,
        kind=question.kind,
        batch_size=question.batch_size,
        regime=question.regime,
    )


def _is_alike(row: Row, question: Question) -> bool:
    """Tell whether a row is of the same kind, however deep and on however many threads."""
    return (
        row.kind == question.kind
        and row.runtime == question.runtime
        and row.precision == question.precision
        and row.regime == question.regime
    )


def _is_known(each: Observation, device: Device, question: Question, basis: Basis) -> bool:
    match basis:
        case "model":
            return each.model == (device.key, question.submodel.architecture)
        case "device":
            return each.device == device.key
        case "profile":
            return False


def question_of(report: Report, row: Row) -> Question:
    """Return what is asked of an exit to predict a row."""
    return Question(
        submodel=report.context.submodel,
        kind=row.kind,
        runtime=row.runtime,
        precision=row.precision,
        threads=row.threads,
        batch_size=row.batch_size,
        regime=row.regime,
    )


def _device_key(report: Report) -> tuple[str, str | None]:
    return _key(report.context.device, report.context.host.cpu_name)


def _key(device: str, cpu_name: str) -> tuple[str, str | None]:
    """Tell devices apart by their names; this machine, which has none, by its processor."""
    return (device, cpu_name if device == LOCAL_DEVICE else None)


def _half_width(observations: Sequence[Observation], basis: Basis, *, is_time: bool) -> float:
    """Return how far a figure's logarithm may lie from its prediction's, nine times out of ten."""
    across_models = _width_of(spread_across_models(observations))
    match basis:
        case "model":
            return _width_of(spread_within_models(observations), otherwise=across_models)
        case "device":
            return across_models
        case "profile" if not is_time:  # the same program takes the same memory
            return across_models
        case "profile":
            across_devices = spread_across_devices(observations)
            if across_devices is not None:
                return across_devices.half_width
            return hypot(across_models, log(_UNSEEN_DEVICE))


def _width_of(spread: Spread | None, *, otherwise: float = log(_UNSEEN_DEVICE)) -> float:
    return otherwise if spread is None else spread.half_width

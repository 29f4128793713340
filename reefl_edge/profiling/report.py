"""What did a machine measure, and in which circumstances?

A *report* is written by a machine: its context, and one *row* of raw samples for each thing
measured. The figures in the file are derived from the samples for whoever reads it without us; we
derive them again. Facts about a device that somebody wrote down are a device profile, never a
report.
"""

import json
import re
from collections import Counter
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from reefl_edge import schema
from reefl_edge.cost import Cost, ExitCost, exit_costs
from reefl_edge.devices.host import Host
from reefl_edge.files import regular_file, write_text
from reefl_edge.jobs.job import Kind
from reefl_edge.jobs.outcome import Measurement
from reefl_edge.profiling.prediction import Measurand, Prediction
from reefl_edge.profiling.summary import Summary, summarise
from reefl_edge.submodel import Regime, Submodel

SCHEMA_VERSION = 1
RANDOM_WEIGHTS = "random"

# A list of numbers, which indenting would spread over as many lines.
_NUMBERS = re.compile(r"\[[-+.\deE,\s]+\]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row(Measurand):
    """One measurement, and what was measured.

    Attributes:
        device: Where; ``local`` is the machine itself.
        runtime: What ran it.
        precision: Of weights and activations.
        threads: Threads it computed with.
        exit_index: How deep.
        kind: Inference up to the exit, or one fine-tuning step of the sub-model cut there.
        batch_size: Images at once.
        measurement: The raw samples.
        regime: Which arrays the step trains; None for inference, and in reports of before it was
            written down.
        summary: The figures, derived from the samples.
    """

    measurement: Measurement
    regime: Regime | None = None
    # No part of what was measured, and never read from a file. Derived once: the bootstrap in it
    # takes a while.
    summary: Summary = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        Measurand.__post_init__(self)
        if self.kind == "inference" and self.regime is not None:
            raise ValueError(f"inference trains nothing, but a row of it has regime {self.regime}")
        object.__setattr__(self, "summary", summarise(self.measurement, threads=self.threads))


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """The circumstances of a report.

    Attributes:
        measured_at: When it began, ISO 8601 in UTC.
        device: Where it was measured.
        is_real_hardware: The device itself computed, not an emulation of it.
        host: The machine and the software.
        model: A short name of the model.
        weights: The hash of the weights (``weights.weights_sha256``), or ``random``.
        submodel: What was measured, at its deepest.
    """

    measured_at: str
    device: str
    is_real_hardware: bool
    host: Host
    model: str
    weights: str
    submodel: Submodel


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The deepest exit inside a budget.

    Attributes:
        exit_index: The exit.
        reasons: One sentence per exit measured, shallowest first.
    """

    exit_index: int
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a machine measured, and the exit chosen from it if a budget was given.

    Attributes:
        context: The circumstances.
        rows: What was measured of every exit.
        choice: The exit chosen.
        sweep: The deepest exit with other numbers of threads, from which theirs was taken.
        predictions: What is said of exits that were not measured; the only thing in a report of a
            device that nobody has.
        schema_version: Of this document.
    """

    context: Context
    rows: tuple[Row, ...]
    choice: Choice | None = None
    sweep: tuple[Row, ...] = ()
    predictions: tuple[Prediction, ...] = ()
    schema_version: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        if not 1 <= self.schema_version <= SCHEMA_VERSION:
            raise ValueError(f"no report has schema version {self.schema_version}")
        if not self.rows and not self.predictions:
            raise ValueError("the report holds no rows: nothing was measured")
        keys = Counter(row.key for row in self.rows)
        keys.update(prediction.key for prediction in self.predictions)
        twice = [key for key, count in keys.items() if count > 1]
        if twice:
            raise ValueError(f"more than one row for {' '.join(str(part) for part in twice[0])}")
        for row in (*self.rows, *self.sweep):
            self._check_exit(row.exit_index, "a row is of")
            if row.regime is not None:
                self.context.submodel.with_regime(row.regime)
        for prediction in self.predictions:
            self._check_exit(prediction.exit_index, "a prediction is of")
        if self.choice is not None:
            self._check_exit(self.choice.exit_index, "the choice is")

    def _check_exit(self, exit_index: int, what: str) -> None:
        max_exit = self.context.submodel.max_exit
        if not 0 <= exit_index <= max_exit:
            raise ValueError(f"{what} exit {exit_index}, but the model has exits 0 to {max_exit}")

    def cost_of(self, row: Row) -> Cost | None:
        """Return what one run of a row takes, counted from the sub-model and not measured.

        Weights and activations are counted in float32, whatever the precision of the row: of
        another one, only some arrays change their size.

        Returns:
            None for a step of which the report does not say what it trains.
        """
        if row.kind == "step" and row.regime is None:
            return None
        return run_cost(
            self.context.submodel,
            row.exit_index,
            kind=row.kind,
            batch_size=row.batch_size,
            regime=row.regime,
        )

    def rows_of(self, kind: Kind) -> tuple[Row, ...]:
        """Return the rows of one kind, shallowest exit first."""
        return tuple(
            sorted((row for row in self.rows if row.kind == kind), key=lambda row: row.exit_index)
        )


def run_cost(
    submodel: Submodel,
    exit_index: int,
    *,
    kind: Kind,
    batch_size: int,
    regime: Regime | None,
) -> Cost:
    """Return what one run up to an exit takes, counted in float32.

    Args:
        submodel: The sub-model, which has the exit.
        exit_index: The exit.
        kind: Inference, or one fine-tuning step of the sub-model cut there.
        batch_size: Images at once.
        regime: Which arrays the step trains; None for that of ``submodel``.
    """
    if kind == "step":
        trained = submodel if regime is None else submodel.with_regime(regime)
        return _costs(trained, batch_size)[exit_index].step
    one_image = _costs(submodel, 1)[exit_index].inference
    return replace(
        one_image,
        macs=one_image.macs * batch_size,
        activation_bytes=one_image.activation_bytes * batch_size,
        written_bytes=one_image.written_bytes * batch_size,
    )


@lru_cache(maxsize=8)  # the rows of a report ask for those of two sub-models, again and again
def _costs(submodel: Submodel, batch_size: int) -> tuple[ExitCost, ...]:
    return exit_costs(submodel, batch_size=batch_size)


def report_json(report: Report) -> str:
    """Write a report as JSON, a ``summary`` beside the samples of every row, and its ``cost``."""
    document = schema.to_dict(report)
    written = (*document["rows"], *document["sweep"])
    for fields, row in zip(written, (*report.rows, *report.sweep), strict=True):
        fields["summary"] = schema.to_dict(row.summary)
        fields["cost"] = _cost_fields(report.cost_of(row))
    text = json.dumps(document, indent=2)
    return _NUMBERS.sub(lambda numbers: " ".join(numbers[0].split()), text) + "\n"


def _cost_fields(cost: Cost | None) -> dict[str, Any] | None:
    """Name the figures by what they count: the bytes are those of float32 in every row."""
    if cost is None:
        return None
    return {
        "macs": cost.macs,
        "fp32_weight_bytes": cost.weight_bytes,
        "fp32_activation_bytes": cost.activation_bytes,
    }


def write_report(report: Report, path: str | Path) -> None:
    """Write a report to a file, whole or not at all."""
    write_text(Path(path), report_json(report))


def read_report(path: str | Path) -> Report:
    """Read a report.

    Raises:
        InputError: The file is missing, damaged, not a report, or from a newer version.
    """
    path = Path(path)
    version = schema.schema_version_of(regular_file(path))
    schema.check_not_newer(version, source=str(path), newest=SCHEMA_VERSION)
    return schema.read_json(Report, path)

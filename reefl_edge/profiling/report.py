"""What did a machine measure, and in which circumstances?

A *report* is written by a machine: its context, and one *row* of raw samples for each thing
measured. The figures in the file are derived from the samples for whoever reads it without us; we
derive them again. Facts about a device that somebody wrote down are a device profile, never a
report.
"""

import json
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from reefl_edge import schema
from reefl_edge.bundles.artifacts import Precision
from reefl_edge.devices.host import Host
from reefl_edge.errors import InputError
from reefl_edge.files import regular_file, write_text
from reefl_edge.jobs.job import Kind
from reefl_edge.jobs.outcome import Measurement
from reefl_edge.profiling.summary import Summary, summarise
from reefl_edge.runtimes.base import RuntimeName
from reefl_edge.submodel import Submodel

SCHEMA_VERSION = 1
RANDOM_WEIGHTS = "random"

# A list of numbers, which indenting would spread over as many lines.
_NUMBERS = re.compile(r"\[[-+.\deE,\s]+\]")

RowKey = tuple[str, RuntimeName, Precision, int, int, Kind]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
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
        summary: The figures, derived from the samples.
    """

    device: str
    runtime: RuntimeName
    precision: Precision
    threads: int
    exit_index: int
    kind: Kind
    batch_size: int
    measurement: Measurement
    # No part of what was measured, and never read from a file. Derived once: the bootstrap in it
    # takes a while.
    summary: Summary = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.threads < 1 or self.batch_size < 1 or self.exit_index < 0:
            raise ValueError(
                f"no row has {self.threads} threads, a batch of {self.batch_size} and exit "
                f"{self.exit_index}"
            )
        object.__setattr__(self, "summary", summarise(self.measurement))

    @property
    def key(self) -> RowKey:
        """What no two rows of a report share."""
        return (
            self.device,
            self.runtime,
            self.precision,
            self.threads,
            self.exit_index,
            self.kind,
        )


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
    """What a machine measured, and the exit chosen from it if a budget was given."""

    context: Context
    rows: tuple[Row, ...]
    choice: Choice | None = None
    schema_version: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        if not 1 <= self.schema_version <= SCHEMA_VERSION:
            raise ValueError(f"no report has schema version {self.schema_version}")
        if not self.rows:
            raise ValueError("the report holds no rows: nothing was measured")
        twice = [key for key, count in Counter(row.key for row in self.rows).items() if count > 1]
        if twice:
            raise ValueError(f"more than one row for {' '.join(str(part) for part in twice[0])}")
        for row in self.rows:
            self._check_exit(row.exit_index, "a row is of")
        if self.choice is not None:
            self._check_exit(self.choice.exit_index, "the choice is")

    def _check_exit(self, exit_index: int, what: str) -> None:
        max_exit = self.context.submodel.max_exit
        if not 0 <= exit_index <= max_exit:
            raise ValueError(f"{what} exit {exit_index}, but the model has exits 0 to {max_exit}")

    def rows_of(self, kind: Kind) -> tuple[Row, ...]:
        """Return the rows of one kind, shallowest exit first."""
        return tuple(
            sorted((row for row in self.rows if row.kind == kind), key=lambda row: row.exit_index)
        )


def report_json(report: Report) -> str:
    """Write a report as JSON, a ``summary`` beside the samples of every row."""
    document = schema.to_dict(report)
    for fields, row in zip(document["rows"], report.rows, strict=True):
        fields["summary"] = schema.to_dict(row.summary)
    text = json.dumps(document, indent=2)
    return _NUMBERS.sub(lambda numbers: " ".join(numbers[0].split()), text) + "\n"


def write_report(report: Report, path: Path) -> None:
    """Write a report to a file, whole or not at all."""
    write_text(path, report_json(report))


def read_report(path: Path) -> Report:
    """Read a report.

    Raises:
        InputError: The file is missing, damaged, not a report, or from a newer version.
    """
    version = schema.schema_version_of(regular_file(path))
    if version is not None and version > SCHEMA_VERSION:
        raise InputError(
            f"{path} has schema version {version}, newer than {SCHEMA_VERSION}, the newest this "
            "reefl-edge reads; upgrade reefl-edge"
        )
    return schema.read_json(Report, path)

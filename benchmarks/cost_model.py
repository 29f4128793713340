"""How honest are the intervals of what was predicted and not measured?

Every exit of four models is measured on this machine, on one thread and on two: inference in onnx,
float32 and 8 bits, and a fine-tuning step. Then the cost model is given some of it and predicts the
others:

* **other exits**: of each model the first and the last exit on one thread and the first on two; all
  others are predicted;
* **another model**: everything of the other models; everything of this one is predicted.

Rows whose verdict is not "valid" count on neither side: their truth is not known.

What counts is the share of the measured figures that lie inside the 90% intervals.

    python -m benchmarks.cost_model
    python -m benchmarks.cost_model --reports reefl_edge/profiling/measured   # measure nothing
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.apparatus.artifacts import bundle_of, say
from benchmarks.apparatus.documents import Bar, at_least, parser, write
from reefl_edge.architectures import named_submodel
from reefl_edge.bundles.artifacts import Precision
from reefl_edge.devices.links.local import LocalLink
from reefl_edge.devices.processor import Processor
from reefl_edge.jobs.job import MeasurementJob, Plan
from reefl_edge.jobs.sources import BundleFolder, RandomWeights
from reefl_edge.models.arrays import random_network
from reefl_edge.profiling.cost_model import CostModel, Device, question_of
from reefl_edge.profiling.measure import inference_jobs, measure_report, step_jobs
from reefl_edge.profiling.passes import Meter
from reefl_edge.profiling.prediction import Estimate
from reefl_edge.profiling.report import (
    RANDOM_WEIGHTS,
    Context,
    Report,
    Row,
    read_report,
    write_report,
)
from reefl_export.recipe import recipe_for

MODELS = ("digits", "deit_tiny", "deit_small", "deit_base")
QUICK_MODELS = ("digits",)
PRECISIONS: tuple[Precision, ...] = ("fp32", "int8-dynamic")
THREADS = (1, 2)
STEP_BATCH_SIZE = 4
INFERENCE_PLAN = Plan(warmup_runs=3, min_samples=15, min_seconds=0.4, max_seconds=4.0)
STEP_PLAN = Plan(warmup_runs=1, min_samples=5, min_seconds=0.4, max_seconds=4.0)
NUM_PASSES = 1
QUICK_PLAN = Plan(warmup_runs=0, min_samples=2, min_seconds=0, max_seconds=1.0)
COVERAGE_LIMIT = 0.9

# What is told of each model in the first experiment: exit (from the end if negative), threads.
TOLD = ((0, 1), (-1, 1), (0, 2))
FIGURES = ("p50_ms", "p90_ms", "memory_mib")


def main() -> None:
    """Measure, or read what was measured, and write how well it was predicted."""
    options = parser(__doc__, "cost_model")
    options.add_argument("--reports", type=Path, help="a folder of reports, instead of measuring")
    options.add_argument("--keep", type=Path, help="where the reports measured go")
    arguments = options.parse_args()
    found = reports_of(arguments)
    reports = [only(report, is_valid) for report in found]
    tables = {
        "other exits": evaluated(
            [only(report, is_told) for report in reports],
            [only(report, is_asked) for report in reports],
        ),
        "another model": [
            row
            for report in reports
            for row in evaluated([other for other in reports if other is not report], [report])
            if len(reports) > 1
        ],
    }
    write(
        arguments.output,
        settings={
            "models": [
                f"{report.context.model} ({report.context.measured_at})" for report in reports
            ],
            "threads": list(THREADS),
            "step_batch_size": STEP_BATCH_SIZE,
            "rows": sum(len(report.rows) for report in found),
            "rows_left_out": sum(len(report.rows) for report in found)
            - sum(len(report.rows) for report in reports),
            "told": [f"exit {exit_index}, {threads} threads" for exit_index, threads in TOLD],
        },
        bars=[*bars(tables)],
        predicted=tables,
    )


def reports_of(arguments: argparse.Namespace) -> list[Report]:
    """Return a report of each model, smallest first."""
    if arguments.reports is not None:
        return sorted(
            (read_report(path) for path in arguments.reports.glob("*.json")),
            key=lambda report: report.context.submodel.architecture.width,
        )
    reports = [
        measured(model, is_quick=arguments.quick)
        for model in (QUICK_MODELS if arguments.quick else MODELS)
    ]
    if arguments.keep is not None:
        for report in reports:
            write_report(report, arguments.keep / f"{report.context.model}.json")
    return reports


def measured(model: str, *, is_quick: bool) -> Report:
    """Measure every exit of a model, each in fresh processes."""
    submodel = named_submodel(model)
    with TemporaryDirectory() as scratch:
        folder = Path(scratch) / "bundle"
        recipes = [recipe_for("onnx", precision) for precision in PRECISIONS]
        bundle_of(random_network(submodel, seed=0), recipes, folder)
        source = BundleFolder.of(folder)
        jobs: list[MeasurementJob] = []
        for threads in THREADS:
            for precision in PRECISIONS:
                jobs += inference_jobs(
                    submodel,
                    source,
                    runtime="onnx",
                    threads=threads,
                    precision=precision,
                    plan=QUICK_PLAN if is_quick else INFERENCE_PLAN,
                )
            jobs += step_jobs(
                submodel.with_regime("frozen"),
                RandomWeights(seed=0),
                threads=threads,
                batch_size=STEP_BATCH_SIZE,
                plan=QUICK_PLAN if is_quick else STEP_PLAN,
            )
        say(f"{model}: {len(jobs)} fresh processes")
        files = {source.sha256: folder}
        meter = Meter(link=LocalLink(), files=files)
        return measure_report(
            meter, jobs, model=model, weights=RANDOM_WEIGHTS, num_passes=NUM_PASSES
        )


def is_valid(_report: Report, row: Row) -> bool:
    """Tell whether nothing disturbed a row."""
    return row.summary.verdict == "valid"


def is_told(report: Report, row: Row) -> bool:
    """Tell whether the cost model is given a row in the first experiment."""
    deepest = report.context.submodel.max_exit
    return any(
        row.exit_index == (exit_index if exit_index >= 0 else deepest + 1 + exit_index)
        and row.threads == threads
        for exit_index, threads in TOLD
    )


def is_asked(report: Report, row: Row) -> bool:
    """Tell whether a row is predicted in the first experiment."""
    return not is_told(report, row)


def only(report: Report, is_meant: Callable[[Report, Row], bool]) -> Report:
    """Return a report of some of its rows."""
    return replace(report, rows=tuple(row for row in report.rows if is_meant(report, row)))


def evaluated(known: Sequence[Report], asked: Sequence[Report]) -> list[dict[str, Any]]:
    """Predict what was measured in some reports; a row of the table for each model and kind.

    Args:
        known: What the cost model goes by.
        asked: Whose rows are predicted.
    """
    model = CostModel(known, processor_of)
    return [table_row(report, rows, model) for report in asked for rows in kinds_of(report)]


def kinds_of(report: Report) -> Iterator[list[Row]]:
    """Yield the rows of each kind and precision."""
    kinds = dict.fromkeys((row.kind, row.precision) for row in report.rows)
    for kind, precision in kinds:
        yield [row for row in report.rows if (row.kind, row.precision) == (kind, precision)]


def table_row(report: Report, rows: Sequence[Row], model: CostModel) -> dict[str, Any]:
    """Predict rows of one kind and precision, and compare with what was measured."""
    context = report.context
    device = Device(
        name=context.device, cpu_name=context.host.cpu_name, processor=processor_of(context)
    )
    found: dict[str, list[tuple[float, Estimate]]] = {figure: [] for figure in FIGURES}
    for row in rows:
        (prediction,) = model.predict(device, question_of(report, row), [row.exit_index])
        found["p50_ms"].append((row.summary.p50_ms, prediction.p50_ms))
        found["p90_ms"].append((row.summary.p90_ms, prediction.p90_ms))
        found["memory_mib"].append((row.summary.peak_above_baseline_mib, prediction.memory_mib))
    return {
        "model": context.model,
        "kind": rows[0].kind,
        "runtime": rows[0].runtime,
        "precision": rows[0].precision,
        "predicted": len(rows),
        **{figure: compared(pairs) for figure, pairs in found.items()},
    }


def compared(pairs: Sequence[tuple[float, Estimate]]) -> dict[str, float]:
    """Return how many figures lie inside their intervals, and how far predictions are off."""
    errors = [abs(estimate.value / figure - 1) for figure, estimate in pairs]
    return {
        "inside": sum(estimate.low <= figure <= estimate.high for figure, estimate in pairs),
        "median_error": median(errors),
        "largest_error": max(errors),
        "median_width": median(estimate.high / estimate.low for _, estimate in pairs),
    }


def processor_of(context: Context) -> Processor:
    """Return this machine's processor."""
    return Processor.of_host(context.host)


def bars(tables: dict[str, list[dict[str, Any]]]) -> Iterator[Bar]:
    """Hold the share inside the intervals to what the intervals promise."""
    for experiment, rows in tables.items():
        for figure in FIGURES:
            total = sum(row["predicted"] for row in rows)
            if total:
                inside = sum(row[figure]["inside"] for row in rows)
                yield at_least(
                    f"{experiment}: share of {figure} inside its 90% interval",
                    inside / total,
                    COVERAGE_LIMIT,
                )


if __name__ == "__main__":
    main()

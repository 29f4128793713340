"""How does a parity report look on a terminal?"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from numpy import inf, nan_to_num

from reefl_edge.cli import render

if TYPE_CHECKING:
    from rich.table import Table

    from reefl_export.parity.comparison import ParityReport


def table_of(report: "ParityReport", failed: "Mapping[tuple[str, int], str]") -> "Table":
    """Lay out a parity report, a line per artifact and exit."""
    rows = [
        (
            row.artifact,
            str(row.exit_index),
            f"{row.max_abs_error:.2g}",
            f"{row.mean_abs_error:.2g}",
            f"{row.top1_agreement:.1%}",
            "-" if row.exit_agreement is None else f"{row.exit_agreement:.1%}",
            "differs" if (row.artifact, row.exit_index) in failed else "holds",
        )
        for row in report.rows
    ]
    stops = "no early stop" if report.threshold is None else f"threshold {report.threshold:g}"
    against = {"network": "the network", "onnx-fp32": "float32 ONNX"}[report.reference]
    title = f"against {against} on {report.num_images} images ({report.images}), {stops}"
    columns = ("artifact", "exit", "max error", "mean error", "same class", "same exit", "")
    return render.table(title, columns, rows)


def steps_table_of(report: "ParityReport") -> "Table":
    """Lay out how training steps compare, a line for each with the array that is furthest off."""
    artifacts = dict.fromkeys(row.artifact for row in report.steps)
    rows = []
    for artifact in artifacts:
        arrays = [row for row in report.steps if row.artifact == artifact]
        worst = max(arrays, key=lambda row: nan_to_num(row.error_share, nan=inf))
        holds = worst.error_share <= report.max_gradient_error
        rows.append(
            (
                artifact,
                str(len(arrays)),
                worst.array,
                f"{worst.error_share:.2g}",
                "holds" if holds else "differs",
            )
        )
    title = "one step against the network's own: errors as a share of an array's largest gradient"
    return render.table(title, ("artifact", "arrays", "furthest off", "error", ""), rows)

"""How does a parity report look on a terminal?"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

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

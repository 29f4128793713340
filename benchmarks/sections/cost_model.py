"""How are the results of ``cost_model`` shown?"""

from typing import Any

from benchmarks.sections.common import Document, bars_table, circumstances, table

INTRODUCTION = """\
## What was predicted and not measured

`profile --estimate` predicts exits, thread counts, models and devices that nobody measured, each
with an interval that nine of ten figures are to lie in. Here it is given a part of what was
measured on one machine and asked for the rest. **Other exits**: of each model it knows the first
and the last exit on one thread, and the first on two. **Another model**: it knows everything of the
other models, nothing of this one; of the smallest, whose overheads the others do not tell, it says
hardly more than an order of magnitude. Its terms were chosen on these very figures. How it does on
another device cannot be said without one; its intervals are a factor of two wider there, by
assumption."""


def section(document: Document) -> str:
    """Render the section."""
    parts = [INTRODUCTION, circumstances(document), bars_table(document)]
    columns = (
        "model",
        "what",
        "p50 inside",
        "median error",
        "largest",
        "interval",
        "p90 inside",
        "memory inside",
        "median error",
    )
    for experiment, rows in document["predicted"].items():
        if rows:
            parts += [f"**{experiment.capitalize()}.**", table(columns, [*map(_cells, rows)])]
    return "\n\n".join(parts)


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    latency, memory, total = row["p50_ms"], row["memory_mib"], row["predicted"]
    return (
        row["model"],
        f"{row['kind']}, {row['runtime']} {row['precision']}",
        f"{latency['inside']} of {total}",
        f"{latency['median_error']:.1%}",
        f"{latency['largest_error']:.1%}",
        f"x {latency['median_width']:.2f}",
        f"{row['p90_ms']['inside']} of {total}",
        f"{memory['inside']} of {total}",
        f"{memory['median_error']:.1%}",
    )

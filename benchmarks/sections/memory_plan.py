"""How are the results of ``memory_plan`` shown?"""

from typing import Any

from benchmarks.sections.common import Document, bars_table, circumstances, table

INTRODUCTION = """\
## The memory of a compiled step, predicted

What `export --training … --budget-mib` goes by (`reefl_edge/step_memory.py`: one formula, and a few
constants a runtime) against the peak of a fresh process above its level after the imports, from
loading on. *again* is compiled with `--training-recompute`; steps run on ONNX where nothing else is
said. The constants were found on the rows of this table: a row is no independent check of them."""


def section(document: Document) -> str:
    """Render the section."""
    rows = [_row(name, cell) for name, cell in document["cells"].items()]
    found = table(("step", "measured MiB", "predicted MiB", "off by"), rows)
    parts = [INTRODUCTION, circumstances(document), bars_table(document)]
    if document.get("left_out") is not None:
        parts.append(
            "With the constants found on all rows of ExecuTorch but one, that one is at most "
            f"{document['left_out']:.1%} off."
        )
    return "\n\n".join([*parts, found])


def _row(name: str, cell: dict[str, Any]) -> tuple[str, ...]:
    predicted = cell["predicted_mib"]
    measured = cell.get("measured_mib")
    if measured is None:
        return name, "-", f"{predicted:.0f}", "-"
    return name, f"{measured:.0f}", f"{predicted:.0f}", f"{predicted / measured - 1:+.1%}"

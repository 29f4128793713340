"""How are the results of ``memory_plan`` shown?"""

from typing import Any

from benchmarks.sections.common import Document, bars_table, circumstances, table

INTRODUCTION = """\
## The memory of a compiled step, predicted

What `export --training … --budget-mib` goes by (`reefl_edge/step_memory.py`: one formula, two
constants a runtime) against the peak of a fresh process above its level after the imports, from
loading on. *again* is compiled with `--training-recompute`; steps run on ONNX where nothing else is
said. The constants were found on cells of this table: ONNX's on all of its rows, ExecuTorch's on
rows cut at exit 0, while programs of all its measured rows were at hand. So no row that is measured
is an independent check. A dash: not measured, since lowering the step to ExecuTorch takes minutes;
the prediction is by the same formula."""


def section(document: Document) -> str:
    """Render the section."""
    rows = [_row(name, cell) for name, cell in document["cells"].items()]
    found = table(("step", "measured MiB", "predicted MiB", "off by"), rows)
    return "\n\n".join([INTRODUCTION, circumstances(document), bars_table(document), found])


def _row(name: str, cell: dict[str, Any]) -> tuple[str, ...]:
    predicted = cell["predicted_mib"]
    measured = cell.get("measured_mib")
    if measured is None:
        return name, "-", f"{predicted:.0f}", "-"
    return name, f"{measured:.0f}", f"{predicted:.0f}", f"{predicted / measured - 1:+.1%}"

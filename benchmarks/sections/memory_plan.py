"""How are the results of ``memory_plan`` shown?"""

from benchmarks.sections.common import Document, bars_table, circumstances, table

INTRODUCTION = """\
## The memory of a compiled step, predicted

What `export --training … --budget-mib` goes by (`reefl_edge/step_memory.py`: one formula, two
constants, which were found on these very cells) against the peak of a fresh process above its level
after the imports, from loading on. *again* is compiled with `--training-recompute`. Measured for
ONNX; nothing is predicted for ExecuTorch."""


def section(document: Document) -> str:
    """Render the section."""
    rows = [
        (
            name,
            f"{cell['measured_mib']:.0f}",
            f"{cell['predicted_mib']:.0f}",
            f"{cell['predicted_mib'] / cell['measured_mib'] - 1:+.1%}",
        )
        for name, cell in document["cells"].items()
    ]
    found = table(("step", "measured MiB", "predicted MiB", "off by"), rows)
    return "\n\n".join([INTRODUCTION, circumstances(document), bars_table(document), found])

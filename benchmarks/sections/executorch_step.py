"""How are the results of ``executorch_step`` shown?"""

from benchmarks.sections.common import Document, bars_table, circumstances, table

INTRODUCTION = """\
## The training step on ExecuTorch

The step that a bundle holds for ExecuTorch (one program, whole on XNNPACK), in turns with PyTorch's
step in place, and a few steps of ExecuTorch's own training extension, whose operators no delegate
takes. Memory is the peak above the level before loading, of this process, after two steps."""


def section(document: Document) -> str:
    """Render the section."""
    rows = []
    for name, found in document["time"].items():
        regime, threads = name.split(", ")
        peaks = document["samples"][name]["peak_above_imports_mib"]
        wall = [f"{found[step]['median']:.0f}" for step in ("compiled", "eager", "extension")]
        size = f"{document['program_mib'][regime]:.0f}"
        rows.append(
            (regime, threads, *wall, f"{peaks['compiled']:.0f}", f"{peaks['eager']:.0f}", size)
        )
    columns = (
        "regime", "threads", "compiled ms", "eager ms", "extension ms", "compiled MiB",
        "eager MiB", "program MiB",
    )  # fmt: skip
    parts = [INTRODUCTION, circumstances(document), bars_table(document), table(columns, rows)]
    return "\n\n".join(parts)

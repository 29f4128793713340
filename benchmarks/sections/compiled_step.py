"""How are the results of ``compiled_step`` shown?"""

from benchmarks.sections.common import Document, bars_table, circumstances, table

INTRODUCTION = """\
## The compiled step

One step of fine-tuning with all four exits, compiled to ONNX and run by stock onnxruntime, against
`finetune`'s step in place in PyTorch. *again* is compiled with `--training-recompute`. Time is
taken in one process, in turns; memory in fresh processes on one thread, as the peak above the level
after the imports, after warm-up; the whole process stands beside it."""


def section(document: Document) -> str:
    """Render the section."""
    parts = [INTRODUCTION, circumstances(document), bars_table(document)]
    columns = ("network", "step", "above imports MiB", "whole process MiB")
    rows = [
        (
            part.removeprefix("memory "),
            name,
            f"{found['peak_above_imports_mib']:.0f}",
            f"{found['process_mib']:.0f}",
        )
        for part, findings in document["parts"].items()
        if part.startswith("memory ")
        for name, found in findings.items()
        if name != "measured_at"
    ]
    return "\n\n".join([*parts, table(columns, rows)] if rows else parts)

"""How are the results of ``batches`` shown?"""

from benchmarks.sections.common import Document, bars_table, circumstances, table

INTRODUCTION = """\
## Batches

`AdaptiveSession.predict` on a batch of which half the samples stop at the first exit and are
dropped there, against running all of them to the end."""


def section(document: Document) -> str:
    """Render the section."""
    rows = [
        (name, threads, f"{row['wall_ms']['median']:.0f}", f"{row['cpu_ms']['median']:.0f}")
        for threads, found in document["time"].items()
        for name, row in found.items()
    ]
    columns = ("run", "threads", "wall ms", "CPU ms")
    parts = [INTRODUCTION, circumstances(document), bars_table(document), table(columns, rows)]
    return "\n\n".join(parts)

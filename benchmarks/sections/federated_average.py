"""How are the results of ``federated_average`` shown?"""

from benchmarks.sections.common import Document, bars_table, circumstances, table

INTRODUCTION = """\
## Averaging the updates of a round

The decoded updates of a round's clients, of mixed depths, averaged as the server does it, against
`sum64 += weight * array32` over the same bytes in numpy. Memory is that of guarding, averaging and
taking the average, beside the global arrays, the update at hand included."""


def section(document: Document) -> str:
    """Render the section."""
    rows = [(name, f"{figure['median']:.1f}") for name, figure in document["time"].items()]
    parts = [INTRODUCTION, circumstances(document), bars_table(document)]
    return "\n\n".join([*parts, table(("run", "wall ms"), rows)])

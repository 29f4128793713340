"""How are the results of ``federated_overhead`` shown?"""

from benchmarks.sections.common import Document, bars_table, circumstances, table

INTRODUCTION = """\
## What a client's round costs besides its steps

From a task in Flower's records to the reply in them, the step's time taken off, against building
the network anew and loading its weights, as the released code does for each client."""


def section(document: Document) -> str:
    """Render the section."""
    rows = [
        (regime, name, f"{figure['median']:.1f}")
        for regime, found in document["time"].items()
        for name, figure in found.items()
    ]
    parts = [INTRODUCTION, circumstances(document), bars_table(document)]
    return "\n\n".join([*parts, table(("regime", "run", "wall ms"), rows)])

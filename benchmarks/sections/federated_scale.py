"""How are the results of ``federated_scale`` shown?"""

from benchmarks.sections.common import Document, bars_table, circumstances, table

INTRODUCTION = """\
## What a simulation takes, by its clients

All processes of `reefl-edge federate run` together, pages that they share counted once."""


def section(document: Document) -> str:
    """Render the section."""
    rows = [
        (f"{int(count):,}", f"{found['peak_mib']:.0f}", f"{found['wall_s']:.0f}")
        for count, found in document["by_clients"].items()
    ]
    parts = [INTRODUCTION, circumstances(document), bars_table(document)]
    return "\n\n".join([*parts, table(("clients", "peak MiB", "wall s"), rows)])

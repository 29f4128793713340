"""How are the results of ``federated_wire`` shown?"""

from benchmarks.sections.common import Document, bars_table, circumstances, table

INTRODUCTION = """\
## What a client's round sends

Flower's requests for a task and for its reply, beside four bytes per trained parameter; HTTP's and
TLS's own bytes are not counted. At the deepest exit they stand beside a program as base64 (its
weights alone) and trained arrays as lists in JSON, which is what NVIDIA FLARE's client for devices
exchanges each round."""

_MIB = 2**20


def section(document: Document) -> str:
    """Render the section."""
    rows = [
        (
            row["regime"],
            str(row["max_exit"]),
            *(f"{row[key] / _MIB:.3f}" for key in ("parameter_bytes", "down_bytes", "up_bytes")),
        )
        for row in document["messages"]
    ]
    texts = [
        (
            text["regime"],
            *(f"{text[key] / _MIB:.1f}" for key in ("ours_bytes", "program_bytes", "lists_bytes")),
        )
        for text in document["as_text"]
    ]
    parts = [
        INTRODUCTION,
        circumstances(document),
        bars_table(document),
        table(("regime", "to exit", "parameters, MiB", "down, MiB", "up, MiB"), rows),
        table(("regime", "both directions, MiB", "program, MiB", "lists, MiB"), texts),
    ]
    return "\n\n".join(parts)

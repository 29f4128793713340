"""How are the results of ``applying`` shown?"""

from benchmarks.sections.common import Document, bars_table, circumstances, table

INTRODUCTION = """\
## Applying an update

A LoRA update goes into a bundle with its float32 ONNX artifact, as a library call, against a copy
of the bundle's files: written like a bundle (synced, then put in place), or left to the system to
write. Torch is not imported. Beside them whole processes: `reefl-edge apply`, and `cp -r`."""


def section(document: Document) -> str:
    """Render the section."""
    rows = [
        (name, f"{taken['median']:.0f}", f"[{taken['low']:.0f}, {taken['high']:.0f}]")
        for name, taken in document["time"].items()
    ]
    parts = [
        INTRODUCTION,
        circumstances(document),
        bars_table(document),
        table(("what", "ms, median", "interval"), rows),
    ]
    return "\n\n".join(parts)

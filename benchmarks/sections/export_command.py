"""How are the results of ``export_command`` shown?"""

from benchmarks.sections.common import Document, bars_table, circumstances, table

INTRODUCTION = """\
## What an export takes beside the making

All precisions of a format exported as one command does, from an empty cache, in a fresh process
after the imports and the export of a tiny network. Memory is the peak above the level before, the
network's own arrays among it. **Compare**: what an artifact takes beyond the reference's own run on
the same images."""


def section(document: Document) -> str:
    """Render the section."""
    rows = [
        (
            target,
            f"{figures['memory_mib']:.0f}",
            f"{figures['reference_s']:.2f}",
            ", ".join(f"{name} {seconds:.2f}" for name, seconds in figures["compare_s"].items()),
        )
        for target, figures in document["figures"].items()
    ]
    return "\n\n".join(
        [
            INTRODUCTION,
            circumstances(document),
            bars_table(document),
            f"The weights are {document['weights_mib']:.0f} MiB.",
            table(("format", "peak MiB", "reference s", "compare s"), rows),
        ]
    )

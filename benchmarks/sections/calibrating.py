"""How are the results of ``calibrating`` shown?"""

from benchmarks.sections.common import Document, bars_table, circumstances

INTRODUCTION = """\
## Calibrating

Opening the runtime, running every exit, timing each, choosing and writing the manifest, against
running every exit on the same images once."""


def section(document: Document) -> str:
    """Render the section."""
    return "\n\n".join([INTRODUCTION, circumstances(document), bars_table(document)])

"""How are the results of ``reexport`` shown?"""

from benchmarks.sections.common import Document, bars_table, circumstances

INTRODUCTION = """\
## Exporting again

The whole command `reefl-edge export` in a fresh process, every artifact in the cache. Torch is not
imported: the command is run so that it would fail."""


def section(document: Document) -> str:
    """Render the section."""
    return "\n\n".join([INTRODUCTION, circumstances(document), bars_table(document)])

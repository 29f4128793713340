"""How are the results of ``int8_accuracy`` shown?"""

from benchmarks.sections.common import Document, bars_table, circumstances, table

INTRODUCTION = """\
## The accuracy of int8

Every int8 artifact against the float32 artifact of its format, on all test images; intervals are
paired bootstrap ones at 95%."""


def section(document: Document) -> str:
    """Render the section."""
    rows = [
        (
            artifact["name"],
            str(exit_index),
            f"{each['fp32_top1']:.2%}",
            f"{each['int8_top1']:.2%}",
            f"{each['drop_points']:+.2f} [{each['low_points']:+.2f}, {each['high_points']:+.2f}]",
        )
        for artifact in document["artifacts"]
        for exit_index, each in enumerate(artifact["exits"])
    ]
    columns = ("artifact", "exit", "fp32 top-1", "int8 top-1", "points lost")
    parts = [INTRODUCTION, circumstances(document), bars_table(document), table(columns, rows)]
    return "\n\n".join(parts)

"""How are the results of ``against`` shown?"""

from benchmarks.sections.common import Document, circumstances, table

INTRODUCTION = """\
## Against an earlier commit

The same benchmarks in processes of both trees, in turns; each figure is the median of a process.
*No worse* says that the interval of the ratio contains 1 or lies below. Where sgemm differs, the
machine did."""


def section(document: Document) -> str:
    """Render the section."""
    rows = [
        (
            row["what"],
            f"{row['ratio']:.3f}",
            f"[{row['low']:.3f}, {row['high']:.3f}]",
            "yes" if row["is_no_worse"] else "**no**",
        )
        for row in document["compared"]
    ]
    return "\n\n".join(
        [
            INTRODUCTION,
            circumstances(document),
            table(("figure", "this tree to the other", "interval", "no worse"), rows),
        ]
    )

"""How are the results of ``verdicts`` shown?"""

from collections import Counter

from benchmarks.sections.common import Document, bars_table, circumstances, table

INTRODUCTION = """\
## Verdicts

How often a row passes for valid, alone and beside other programs: the digits network up to its
deepest exit on every fast core, onnxruntime, one fresh process a row, the loads in turns."""

_VERDICTS = ("valid", "noisy", "throttled", "contended")


def section(document: Document) -> str:
    """Render the section."""
    rows = []
    for load, found in document["rows"].items():
        counts = Counter(each["verdict"] for each in found)
        shares = [each["disturbances"]["others_share"] or 0.0 for each in found]
        medians = [each["p50_ms"] for each in found]
        rows.append(
            (
                load,
                *(str(counts[verdict]) for verdict in _VERDICTS),
                f"{min(shares):.1%} to {max(shares):.1%}",
                f"{min(medians):.2f} to {max(medians):.2f}",
            )
        )
    columns = ("beside", *_VERDICTS, "others' share of its cores", "p50 ms")
    return "\n\n".join(
        [INTRODUCTION, circumstances(document), bars_table(document), table(columns, rows)]
    )

"""How are the results of ``export_speed`` shown?"""

from benchmarks.sections.common import Document, bars_table, circumstances, table

INTRODUCTION = """\
## The speed of exported segments

One image at a time. **plain** is the backbone of the same depth without any exit, in one graph,
exported by the same road; **stock** are the segments as ExecuTorch lowers them by itself. All in
turns in one process per number of threads; ratios are of medians of the wall time, brackets hold
95% bootstrap intervals. The rate counts the products alone, and is shown as a share of what one
large product (sgemm) reaches in the same run."""


def section(document: Document) -> str:
    """Render the section."""
    instructions = document["int8_instructions"]
    measured = (
        f"int8 was measured with {instructions}."
        if instructions
        else "int8 was measured without instructions for it (no VNNI, no dot product)."
    )
    parts = [INTRODUCTION, circumstances(document), bars_table(document), measured]
    for threads, found in document["time"].items():
        parts.append(f"Threads: {threads}; sgemm {found['sgemm_gflops']:.0f} GFLOP/s.")
        parts.append(_times(found))
    return "\n\n".join(parts)


def _times(found: Document) -> str:
    rows = []
    for name, row in found["runs"].items():
        wall = row["wall_ms"]
        cells = [
            name,
            f"{wall['median']:.1f} [{wall['low']:.1f}, {wall['high']:.1f}]",
            f"{row['cpu_ms']['median']:.1f}",
        ]
        has_rate = "gflops" in row
        cells += [f"{row['gflops']:.0f}", f"{row['share_of_limit']:.0%}"] if has_rate else ["", ""]
        rows.append(cells)
    return table(("run", "wall ms", "CPU ms", "GFLOP/s", "share of sgemm"), rows)

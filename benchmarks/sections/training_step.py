"""How are the results of ``training_step`` shown?"""

from benchmarks.apparatus.documents import Bar, at_most
from benchmarks.sections.common import Document, bars_table, circumstances, table

INTRODUCTION = """\
## The training step

One step of DeiT-S with four exits, against ReeFL as the released code writes it
(`benchmarks/apparatus/plain_reefl.py`): queries, keys and values apart, attention with an explicit
softmax, the accumulator's whole sequence computed again after every block, a gradient for every
array.

* **pure** is the definition (`finetune/step.py`): fused products, fused attention, the incremental
  accumulator, no gradient for frozen arrays.
* **in-place** is what `finetune` runs: each array changes inside the backward pass.
* **checkpointed** is `finetune --recompute`: blocks keep their input only.

Time is taken in one process, variants in turns; memory in fresh processes, as the peak above the
level after the imports and a step of a tiny network, after warm-up. Ratios are to plain; brackets
hold 95% bootstrap intervals. The limit is the time that the products a step needs would take at the
machine's rate for a large one (sgemm)."""


def section(document: Document) -> str:
    """Render the section."""
    return "\n\n".join(
        [
            INTRODUCTION,
            circumstances(document),
            bars_table({"bars": _bars(document)}),
            _limit(document),
            _time_table(document),
            _memory_table(document),
            "Where the time goes (shares of the time in operations, by PyTorch's profiler):",
            _breakdown_table(document["breakdown"]),
        ]
    )


def _limit(document: Document) -> str:
    """Say how much of the plain form's time a step of all arrays could save at the very best."""
    plain, ours = (document["time"][f"full {variant}"] for variant in ("plain", "in-place"))
    kinds = document["breakdown"]["full in-place"]
    products = ours["limit_ms"] / plain["wall_ms"]["median"]
    others = 1 - kinds["products"] - kinds["attention"]
    others *= ours["wall_ms"]["median"] / plain["wall_ms"]["median"]
    return (
        "What bounds a step that trains everything: plain needs the same products. At the rate of "
        f"sgemm they alone would take {products:.2f} of plain's time; what is no product and no "
        f"attention takes {others:.2f} in place. A step of these parts does not come below "
        f"{products + others:.2f}."
    )


def _bars(document: Document) -> list[Bar]:
    """Return the bars of a report; those of before 2026-11-26 hold the limits alone."""
    bars: list[Bar] | dict[str, dict[str, float]] = document["bars"]
    if isinstance(bars, list):
        return bars
    time, memory = document["time"], document["memory"]
    return [
        *(
            at_most(f"{name}: time to plain", time[name]["to_plain"], limit)
            for name, limit in bars["time"].items()
        ),
        *(
            at_most(f"{name}: memory to plain ({allocator})", peaks[name]["to_plain"], limit)
            for allocator, peaks in memory.items()
            for name, limit in bars["memory"].items()
        ),
    ]


def _time_table(document: Document) -> str:
    columns = (
        "step", "wall ms", "CPU ms", "to plain", "limit ms", "share of limit", "weights from plain"
    )  # fmt: skip
    rows = []
    for name, difference in document["weights_max_abs_difference_from_plain"].items():
        row = document["time"][name]
        against = row["to_plain"]
        rows.append(
            (
                name,
                f"{row['wall_ms']['median']:.0f}",
                f"{row['cpu_ms']['median']:.0f}",
                f"{against['ratio']:.2f} [{against['low']:.2f}, {against['high']:.2f}]",
                f"{row['limit_ms']:.0f}",
                f"{row['share_of_limit']:.0%}",
                f"{difference:.0e}",
            )
        )
    return table(columns, rows)


def _memory_table(document: Document) -> str:
    memory = document["memory"]
    columns = ["step"]
    for allocator in memory:
        columns += [f"MiB, {allocator}", "to plain"]
    rows = [
        [name, *(figure for peaks in memory.values() for figure in _memory_figures(peaks[name]))]
        for name in next(iter(memory.values()))
    ]
    return table(columns, rows)


def _memory_figures(peak: dict[str, float]) -> tuple[str, str]:
    return f"{peak['peak_above_imports_mib']:.0f}", f"{peak['to_plain']:.2f}"


def _breakdown_table(breakdown: dict[str, dict[str, float]]) -> str:
    kinds = list(next(iter(breakdown.values())))
    rows = [
        (name, *(f"{shares[kind]:.0%}" for kind in kinds)) for name, shares in breakdown.items()
    ]
    return table(("step", *kinds), rows)

"""How are the results of ``training_step`` shown?"""

from benchmarks.sections.common import Document

INTRODUCTION = """\
## The training step

One step of DeiT-S with four exits, against ReeFL as the released code writes it
(`benchmarks/plain_reefl.py`): queries, keys and values apart, attention with an explicit softmax,
the accumulator's whole sequence recomputed after every block, a gradient for every array.

* **pure** is the definition (`finetune/step.py`): fused products, fused attention, the incremental
  accumulator, no gradient for frozen arrays.
* **in-place** is what `finetune` runs: each array changes inside the backward pass.
* **checkpointed** is `finetune --recompute`: blocks keep their input only.

Time is taken in one process, variants in turns; memory in fresh processes, as the peak above the
level after the imports, after warm-up. Ratios are to plain; brackets hold 95% bootstrap intervals.
The limit is the time that the products a step needs would take at the machine's rate for a large
one (sgemm).
"""


def section(document: Document) -> str:
    """Render the section."""
    host, settings = document["host"], document["settings"]
    return "\n".join(
        [
            INTRODUCTION,
            f"{host['cpu_name']}, {settings['threads']} threads, torch "
            f"{host['packages']['torch']}; {settings['architecture']}, batch "
            f"{settings['batch_size']}, {settings['rounds']} rounds; sgemm "
            f"{document['time']['sgemm_gflops']:.0f} GFLOP/s; {document['measured_at']}.",
            "",
            *_time_table(document),
            "",
            *_memory_table(document),
            "",
            "Where the time goes (shares of the time in operations, by PyTorch's profiler):",
            "",
            *_breakdown_table(document["breakdown"]),
        ]
    )


def _time_table(document: Document) -> list[str]:
    rows = [
        "| step | wall ms | CPU ms | to plain | bar | limit ms | share of limit "
        "| weights from plain |",
        "|---|---|---|---|---|---|---|---|",
    ]
    differences = document["weights_max_abs_difference_from_plain"]
    for name, difference in differences.items():
        row = document["time"][name]
        against = row["to_plain"]
        rows.append(
            f"| {name} | {row['wall_ms']['median']:.0f} | {row['cpu_ms']['median']:.0f} "
            f"| {against['ratio']:.2f} [{against['low']:.2f}, {against['high']:.2f}] "
            f"| {_bar(document, 'time', name)} | {row['limit_ms']:.0f} "
            f"| {row['share_of_limit']:.0%} | {difference:.0e} |"
        )
    return rows


def _memory_table(document: Document) -> list[str]:
    allocators = list(document["memory"])
    titles = " | ".join(f"MiB, {allocator} | to plain" for allocator in allocators)
    rows = [f"| step | {titles} | bar |", "|---" * (2 + 2 * len(allocators)) + "|"]
    for name in document["memory"][allocators[0]]:
        figures = " | ".join(
            f"{peaks[name]['peak_above_imports_mib']:.0f} | {peaks[name]['to_plain']:.2f}"
            for peaks in document["memory"].values()
        )
        rows.append(f"| {name} | {figures} | {_bar(document, 'memory', name)} |")
    return rows


def _bar(document: Document, question: str, name: str) -> str:
    bars = document["bars"][question]
    return f"{bars[name]:.2f}" if name in bars else ""


def _breakdown_table(breakdown: dict[str, dict[str, float]]) -> list[str]:
    kinds = list(next(iter(breakdown.values())))
    rows = [f"| step | {' | '.join(kinds)} |", "|---" * (1 + len(kinds)) + "|"]
    for name, shares in breakdown.items():
        rows.append(f"| {name} | {' | '.join(f'{shares[kind]:.0%}' for kind in kinds)} |")
    return rows

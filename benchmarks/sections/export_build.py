"""How are the results of ``export_build`` shown?"""

from benchmarks.sections.common import Document, bars_table, circumstances, table

INTRODUCTION = """\
## Lowering to ExecuTorch

The same segments, lowered once in our forms and once as they are (**stock**), in one process after
the imports. Every delegated subgraph is lowered by itself and hands its outputs over in memory;
operators that are not delegated run on ExecuTorch's portable kernels."""


def section(document: Document) -> str:
    """Render the section."""
    build = [
        (name, f"{taken['wall_s']:.0f}", f"{taken['cpu_s']:.0f}")
        for name, taken in document["build"].items()
    ]
    calls = [
        (
            name,
            method,
            str(found["delegated_subgraphs"]),
            ", ".join(
                f"{count} {operator}" for operator, count in found["undelegated_operators"].items()
            ),
        )
        for name, methods in document["calls"].items()
        for method, found in methods.items()
    ]
    return "\n\n".join(
        [
            INTRODUCTION,
            circumstances(document),
            bars_table(document),
            table(("lowering", "wall s", "CPU s"), build),
            table(("lowering", "method", "delegated subgraphs", "not delegated"), calls),
        ]
    )

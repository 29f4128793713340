"""How are the results of ``export_build`` shown?"""

from benchmarks.sections.common import Document, bars_table, circumstances, table

INTRODUCTION = """\
## The time of an export

Every stock recipe once, in one process after the imports, format by format, as in one command.
**stock** are the same segments as ExecuTorch lowers them by itself; **onnx by PyTorch** is the
plain backbone through `torch.onnx`. Every delegated subgraph of ExecuTorch is lowered by itself and
hands its outputs over in memory; operators that are not delegated run on portable kernels."""


def section(document: Document) -> str:
    """Render the section."""
    build = [
        (name, f"{taken['wall_s']:.1f}", f"{taken['cpu_s']:.1f}")
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
            table(("made", "wall s", "CPU s"), build),
            table(("program", "method", "delegated subgraphs", "not delegated"), calls),
        ]
    )

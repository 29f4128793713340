"""How are the results of ``inference`` shown?"""

from benchmarks.sections.common import Document, bars_table, circumstances, table

INTRODUCTION = """\
## The time of an answer

`reefl-edge infer` as a whole command, always to the deepest exit. **onnxruntime alone** is a script
that imports onnxruntime and Pillow, loads the same graphs and runs them once. Both find Python's
modules compiled, as on every start but the first. What the cores could do at best is the processor
time of decoding plus that of computing, each alone on one thread, over the number of cores; the
command on one photograph is taken off the time of a folder."""


def section(document: Document) -> str:
    """Render the section."""
    starts = [
        (name, f"{wall['median']:.0f} [{wall['low']:.0f}, {wall['high']:.0f}]")
        for name, wall in document["one_photograph"].items()
    ]
    folder = document["folder"]
    rows = [
        ("a folder, wall s", f"{folder['wall_s']['median']:.1f}"),
        ("what its cores could do, s", f"{folder['best_s']:.1f}"),
        *((f"peak of {name}, MiB", f"{peak:.0f}") for name, peak in folder["peak_mib"].items()),
    ]
    return "\n\n".join(
        [
            INTRODUCTION,
            circumstances(document),
            bars_table(document),
            table(("one photograph", "wall ms"), starts),
            table(("", ""), rows),
        ]
    )

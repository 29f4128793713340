"""What does every section of the page show in the same way?"""

from collections.abc import Sequence
from typing import Any

Document = dict[str, Any]


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Render a table in Markdown."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def circumstances(document: Document) -> str:
    """Say where, when and with what settings a report was measured."""
    host = document["host"]
    names = ("onnxruntime", "executorch", "torch")
    versions = [f"{name} {host['packages'][name]}" for name in names if name in host["packages"]]
    settings = [
        f"{key.replace('_', ' ')} {_plainly(value)}" for key, value in document["settings"].items()
    ]
    return (
        f"{host['cpu_name']} ({vector_instructions(host['cpu_features'])}), "
        f"{host['num_usable_cores']} cores, load {host['load_average'] or 0:.1f}; "
        f"{', '.join(versions)}; {'; '.join(settings)}; {document['measured_at']}."
    )


def vector_instructions(features: Sequence[str]) -> str:
    """Name those of a processor's instructions that decide how fast networks run."""
    known = ("avx2", "avx512f", "avx512vnni", "avx512_vnni", "avx_vnni", "asimd", "asimddp")
    found = [name.replace("_", "") for name in known if name in features]
    return ", ".join(dict.fromkeys(found)) or "no vector instructions known"


def bars_table(document: Document) -> str:
    """Render every bar: the figure, its interval, the limit, and whether it holds."""
    rows = [
        (
            bar["what"],
            f"{bar['figure']:.3f}",
            "" if bar["low"] is None else f"[{bar['low']:.3f}, {bar['high']:.3f}]",
            f"{'at most' if bar['is_upper'] else 'at least'} {bar['limit']:.3g}",
            "yes" if bar["holds"] else "**no**",
        )
        for bar in document["bars"]
    ]
    return table(("bar", "figure", "interval", "limit", "holds"), rows)


def _plainly(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)

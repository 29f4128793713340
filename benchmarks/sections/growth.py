"""How are the results of ``growth`` shown?"""

from collections.abc import Mapping

from benchmarks.sections.common import Document, circumstances, table

INTRODUCTION = """\
## Growth

From DeiT-S with four exits, one axis at a time (blocks: three exits; exits: 24 blocks), ONNX
float32, on one thread. Each network is exported in a process of its own, after the imports and the
export of a tiny one, and run in another. **Line**: the largest network's figure over what a
straight line through the two smaller ones says.

What grows faster than its axis must: products and weights grow with the square of the width; tokens
with the square of the image size, and attention with the square of the tokens. Beside the figures
stand what the network's own arithmetic says, and what that comes to: time per multiply-accumulate
falls, or stays, where nothing else grows."""

_COLUMNS = (
    "axis", "size", "export s", "bundle MiB", "weights MiB", "memory MiB", "latency ms", "GMAC",
    "GMAC/s",
)  # fmt: skip
_LINED = {
    "export s": "export_wall_s",
    "bundle": "size_bytes",
    "memory": "memory_mib",
    "latency": "latency_ms",
    "GMAC": "macs",
    "weights": "weight_bytes",
}


def section(document: Document) -> str:
    """Render the section."""
    rows = [
        _row(axis, size, figures)
        for axis, networks in document["figures"].items()
        for size, figures in networks.items()
    ]
    lines = [
        (axis, *(f"{over[name]:.2f}" for name in _LINED.values()))
        for axis, over in document["to_line"].items()
    ]
    return "\n\n".join(
        [
            INTRODUCTION,
            circumstances(document),
            table(_COLUMNS, rows),
            table(("to the line", *_LINED), lines),
        ]
    )


def _row(axis: str, size: str, figures: Mapping[str, float]) -> tuple[str, ...]:
    return (
        axis,
        size,
        f"{figures['export_wall_s']:.1f}",
        f"{figures['size_bytes'] / 2**20:.1f}",
        f"{figures['weight_bytes'] / 2**20:.1f}",
        f"{figures['memory_mib']:.0f}",
        f"{figures['latency_ms']:.1f}",
        f"{figures['macs'] / 1e9:.2f}",
        f"{figures['macs'] / figures['latency_ms'] / 1e6:.0f}",
    )

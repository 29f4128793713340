"""What is in the results of every benchmark, and what does it mean that a bar holds?

A *bar* is a figure that the project promises, with the limit it is held to. It holds if the figure,
a median or a count, is within the limit; where the interval lies stands beside it.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from reefl_edge import schema
from reefl_edge.devices.host import describe_host
from reefl_edge.files import write_text

RESULTS = Path(__file__).parents[1] / "results"

Bar = dict[str, Any]


def parser(question: str | None, name: str) -> argparse.ArgumentParser:
    """Return the options that every benchmark has."""
    options = argparse.ArgumentParser(description=question)
    options.add_argument("--quick", action="store_true", help="tiny sizes, to see that it runs")
    options.add_argument("-o", "--output", type=Path, default=RESULTS / f"{name}.json")
    return options


def now() -> str:
    """Return the time, as results say when they were measured."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def write(path: Path, *, settings: Mapping[str, Any], **findings: Any) -> None:
    """Write what was found, with the machine and the settings it was found on."""
    document = {
        "measured_at": now(),
        "host": schema.to_dict(describe_host()),
        "settings": dict(settings),
        **findings,
    }
    write_text(path, json.dumps(document, indent=1) + "\n")
    print(f"saved {path}")


def at_most(what: str, figure: Mapping[str, float] | float, limit: float) -> Bar:
    """Hold a figure to an upper limit.

    Args:
        what: What the figure is of.
        figure: The figure, or a ``ratio`` with its interval.
        limit: The most it may be.
    """
    return _bar(what, figure, limit, is_upper=True)


def at_least(what: str, figure: Mapping[str, float] | float, limit: float) -> Bar:
    """Hold a figure to a lower limit; see ``at_most``."""
    return _bar(what, figure, limit, is_upper=False)


def _bar(what: str, figure: Mapping[str, float] | float, limit: float, *, is_upper: bool) -> Bar:
    measured = figure if isinstance(figure, Mapping) else {"ratio": figure}
    value = measured["ratio"]
    return {
        "what": what,
        "figure": value,
        "low": measured.get("low"),
        "high": measured.get("high"),
        "limit": limit,
        "is_upper": is_upper,
        "holds": bool(value <= limit if is_upper else value >= limit),
    }


def int8_instructions(features: Sequence[str]) -> str | None:
    """Name the instructions that multiply 8-bit integers in one step, if the processor has them."""
    names = {"VNNI": ("avx512_vnni", "avx512vnni", "avx_vnni"), "dot product": ("asimddp",)}
    for name, flags in names.items():
        if any(flag in features for flag in flags):
            return name
    return None


def on_threads(threads: int) -> str:
    """Say on how many threads, at the end of what a bar is of."""
    return ", 1 thread" if threads == 1 else f", {threads} threads"

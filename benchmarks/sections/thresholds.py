"""How are the results of ``thresholds`` shown?"""

from collections.abc import Iterator
from typing import Any

from benchmarks.sections.common import Document, bars_table, circumstances, table

INTRODUCTION = """\
## Do certified thresholds keep what they promise?

The logits of a trained network on test images are taken for the whole world. Calibration sets are
drawn from it with replacement, thresholds are certified on each, and the truth is what they cost
on all images. A promise made with 95% confidence may be broken by at most 5% of the sets, and what
chance adds to that. Saved is the share of the mean time of always running to the end, 0 where
nothing was certified. "Accuracy kept on the set" is what the demo did before: the lowest of eight
thresholds that loses no more on the very images it is chosen on. The limit of max-mean-ms is a
share of the time to the deepest exit. See [thresholds](thresholds.md)."""


def section(document: Document) -> str:
    """Render the section."""
    rows = [_row(row) for row in (*document["rows"], *document["per_exit"])]
    columns = ("world", "promise", "images", "by", "sets", "certified", "broken", "time saved")
    parts = [
        INTRODUCTION,
        circumstances(document),
        table(columns, rows),
        "In a world that has changed nothing is promised. Certified on 1,000 images of the old:",
        table(("world", "promise", "shift", "broken", "mean cost"), [*_shifted(document)]),
        "Thresholds per exit, with temperatures, against one for all by the same promise:",
        bars_table({**document, "bars": [*_saving(document)]}),
        f"Every other bar, {_kept(document)}.",
    ]
    return "\n\n".join(parts)


def _row(row: dict[str, Any]) -> tuple[str, ...]:
    return (
        row["world"],
        _promise(row),
        str(row["num_images"] or "all"),
        row["rule"],
        str(row["num_sets"] or "-"),
        f"{row['certified']:.0%}",
        f"{row['broken']:.1%}",
        f"{row['saved']:.1%}",
    )


def _promise(row: dict[str, Any]) -> str:
    return f"{row['promise']} {row['limit']:g}"


def _shifted(document: Document) -> Iterator[tuple[str, ...]]:
    for row in document["shifted"]:
        yield (
            row["world"],
            _promise(row),
            row["shift"],
            f"{row['broken']:.1%}",
            f"{row['mean_cost']:.3g}",
        )


def _saving(document: Document) -> Iterator[dict[str, Any]]:
    yield from (bar for bar in document["bars"] if not bar["is_upper"])


def _kept(document: Document) -> str:
    bars = [bar for bar in document["bars"] if bar["is_upper"]]
    worst = max(bars, key=lambda bar: bar["figure"])
    held = sum(bar["holds"] for bar in bars)
    return (
        f"the share of sets that break the promise: {held} of {len(bars)} hold; the largest is "
        f"{worst['figure']:.1%} of at most {worst['limit']:.1%}"
    )

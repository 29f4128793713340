"""How do the results become a page? ``python -m benchmarks.tables`` writes docs/benchmarks.md.

A section per report, those that have been measured, in this order.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

from benchmarks.apparatus.documents import RESULTS
from benchmarks.sections import (
    against,
    applying,
    batches,
    calibrating,
    compiled_step,
    cost_model,
    executorch_step,
    export_build,
    export_command,
    export_size,
    export_speed,
    federated_average,
    federated_overhead,
    federated_scale,
    federated_wire,
    growth,
    inference,
    int8_accuracy,
    links,
    memory_plan,
    reexport,
    thresholds,
    training_step,
    verdicts,
)
from benchmarks.sections.common import Document
from reefl_edge.files import write_text

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"

SECTIONS: dict[str, Callable[[Document], str]] = {
    "training_step": training_step.section,
    "compiled_step": compiled_step.section,
    "executorch_step": executorch_step.section,
    "memory_plan": memory_plan.section,
    "export_size": export_size.section,
    "export_speed": export_speed.section,
    "export_build": export_build.section,
    "export_command": export_command.section,
    "int8_accuracy": int8_accuracy.section,
    "reexport": reexport.section,
    "applying": applying.section,
    "batches": batches.section,
    "inference": inference.section,
    "thresholds": thresholds.section,
    "calibrating": calibrating.section,
    "growth": growth.section,
    "verdicts": verdicts.section,
    "cost_model": cost_model.section,
    "links": links.section,
    "federated_average": federated_average.section,
    "federated_overhead": federated_overhead.section,
    "federated_scale": federated_scale.section,
    "federated_wire": federated_wire.section,
    "against": against.section,
}

_TITLE = """\
# Benchmarks

Made by `make bench` from `benchmarks/results/*.json`; change nothing here by hand."""


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=RESULTS, help="the folder of the reports")
    parser.add_argument("-o", "--output", type=Path, default=PAGE)
    arguments = parser.parse_args()
    parts = [_TITLE]
    for name, section in SECTIONS.items():
        path = arguments.results / f"{name}.json"
        if path.is_file():
            parts.append(section(json.loads(path.read_text())))
    write_text(arguments.output, "\n\n".join(parts) + "\n")
    print(f"saved {arguments.output}")


if __name__ == "__main__":
    main()

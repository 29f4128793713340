"""Which documents travel between machines and languages, and what is the JSON Schema of each?

    python -m reefl_edge.documents schemas

writes them anew to the folder ``schemas``; a test holds those in the tree to this code. Documents
to read and to refuse are in ``tests/golden``, for readers in any language.
"""

import json
import sys
from pathlib import Path
from typing import Any

from reefl_edge import schema
from reefl_edge.bundles.manifest import Manifest
from reefl_edge.devices.host import Host
from reefl_edge.federation.report import FederationReport
from reefl_edge.files import write_text
from reefl_edge.jobs.job import Job
from reefl_edge.jobs.outcome import Outcome
from reefl_edge.profiling.assignment import Assignment
from reefl_edge.profiling.report import Report

DOCUMENTS: dict[str, Any] = {
    "assignment": Assignment,
    "federation": FederationReport,
    "host": Host,
    "job": Job,
    "manifest": Manifest,
    "outcome": Outcome,
    "report": Report,
}

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema_text(name: str) -> str:
    """Return the JSON Schema of a document, as ``schemas/NAME.schema.json`` holds it."""
    return json.dumps({"$schema": _DIALECT, **schema.json_schema(DOCUMENTS[name])}, indent=2) + "\n"


def write_schemas(folder: Path) -> None:
    """Write the JSON Schema of every document to a folder."""
    for name in DOCUMENTS:
        write_text(folder / f"{name}.schema.json", schema_text(name))


if __name__ == "__main__":
    write_schemas(Path(sys.argv[1]))

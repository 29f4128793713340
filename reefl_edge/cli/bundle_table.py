"""How do the artifacts of a bundle look on a terminal?"""

from typing import TYPE_CHECKING

from reefl_edge.cli import render

if TYPE_CHECKING:
    from rich.table import Table

    from reefl_edge.bundles.manifest import Manifest


def bundle_table(manifest: "Manifest") -> "Table":
    """Lay out what a bundle holds, a line per artifact."""
    rows = [
        (
            artifact.target,
            artifact.delegate or "-",
            artifact.precision,
            str(len(artifact.files)),
            render.size(artifact.size_bytes),
        )
        for artifact in manifest.artifacts
    ]
    title = f"{manifest.name}: exits 0 to {manifest.submodel.max_exit}"
    return render.table(title, ("format", "delegate", "precision", "files", "size"), rows)

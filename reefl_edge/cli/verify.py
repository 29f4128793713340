"""``reefl-edge verify``: is a bundle what was exported, without running it?"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reefl_edge.cli import options, render

if TYPE_CHECKING:
    from rich.table import Table

    from reefl_export.verification import Verification


def verify(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="A bundle's folder.")],
    json: options.Json = False,
) -> None:
    """Hold a bundle's files to their hashes, and its manifest to what the artifacts say.

    Nothing is run; 'reefl-edge parity' compares what they compute. Exit code 3 if it fails.

    Example:  reefl-edge verify bundle
    """
    from reefl_edge import schema
    from reefl_edge.bundles.artifacts import float32_onnx
    from reefl_edge.bundles.bundle import Bundle
    from reefl_edge.errors import InputError
    from reefl_export.verification import verify as verify_bundle

    opened = Bundle.open(bundle)
    verification = verify_bundle(opened)
    problems = verification.problems
    if json:
        document = {"bundle": str(bundle), "holds": not problems, **schema.to_dict(verification)}
        render.print_json(document)
    else:
        render.out().print(checks_table(verification, title=str(bundle)))
        render.out().print(versions_table(verification))
    for path in verification.foreign_files:
        render.warn(f"{path} is not the bundle's")
    if problems:
        raise InputError(f"{problems[0]} ({len(problems)} of {len(verification.checks)} fail)")
    has_weights = float32_onnx(opened.manifest.artifacts) is not None
    model = () if has_weights else ("--model", "MODEL")
    render.next_command("reefl-edge", "parity", bundle, "--data", "IMAGES", *model)


def checks_table(verification: "Verification", *, title: str) -> "Table":
    """Lay out what was looked at."""
    rows = [
        (check.subject, check.what, f"{check.result}: {check.detail}".removesuffix(": "))
        for check in verification.checks
    ]
    return render.table(title, ("of", "what", "result"), rows)


def versions_table(verification: "Verification") -> "Table":
    """Lay out what made the artifacts, beside what is installed here."""
    rows = [
        (each.artifact, each.package, each.version, each.installed or "-")
        for each in verification.made_with
    ]
    return render.table("made with", ("artifact", "package", "version", "here"), rows)

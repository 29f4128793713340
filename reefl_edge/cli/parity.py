"""``reefl-edge parity``: do the artifacts of a bundle still compute what the network computes?"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reefl_edge.cli import models, options, render

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.table import Table

    from reefl_export.parity.comparison import ParityReport


def parity(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="A bundle's folder.")],
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            help="Images to compare on: a folder, an .npy or .npz file, or a dataset. Real ones "
            "tell how many decisions differ.  [default: noise]",
        ),
    ] = None,
    num_images: Annotated[
        int, typer.Option("--num-images", min=1, help="How many images to take.")
    ] = 256,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            help="The checkpoint that was exported.  [default: the bundle's own float32 ONNX]",
        ),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option("--threshold", help="Where to stop.  [default: the bundle's own]"),
    ] = None,
    max_error: Annotated[
        float | None,
        typer.Option("--max-error", min=0, help="Largest difference of a logit to accept."),
    ] = None,
    max_mean_error: Annotated[
        float | None,
        typer.Option(
            "--max-mean-error", min=0, help="Mean difference to accept, over the logits' spread."
        ),
    ] = None,
    min_top1: Annotated[
        float | None,
        typer.Option("--min-top1", min=0, max=1, help="Least share of images of the same class."),
    ] = None,
    min_same_exit: Annotated[
        float | None,
        typer.Option(
            "--min-same-exit", min=0, max=1, help="Least share of images with the same exit."
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Where the report goes, as JSON.")
    ] = None,
    json: options.Json = False,
) -> None:
    """Compare every artifact of a bundle with the network, exit by exit.

    What an option does not say is held to what the export was held to. Exit code 6 if it fails.

    Example:  reefl-edge parity bundle --data images/ --min-same-exit 0.97
    """
    from dataclasses import replace

    from reefl_edge import schema
    from reefl_edge.bundles.bundle import Bundle
    from reefl_edge.cli.export import check_threshold
    from reefl_edge.errors import InputError, ParityError
    from reefl_edge.files import write_text
    from reefl_edge.tasks.exporting import read_sample
    from reefl_export.images import noise
    from reefl_export.parity.recheck import failures, gates_of, recheck

    options.check_output(output, bundle, data, model)
    check_threshold(threshold)
    opened = Bundle.open(bundle)
    if model is None and ("onnx", "fp32") not in {
        (artifact.target, artifact.precision) for artifact in opened.manifest.artifacts
    }:
        raise InputError(
            f"{bundle} holds no float32 weights (no onnx-fp32): say with --model what was exported"
        )
    source = models.opened(str(bundle) if model is None else model)
    threshold = opened.manifest.common_threshold if threshold is None else threshold
    if min_same_exit is not None and threshold is None:
        raise typer.BadParameter(
            "the bundle stores no threshold that its artifacts share: give --threshold",
            param_hint="'--min-same-exit'",
        )
    is_trained = not opened.manifest.has_random_weights
    if not is_trained and (min_top1 or min_same_exit):
        render.warn("the weights are random: shares of images are not held to anything")
    asked = {
        "max_abs_error": max_error,
        "max_mean_error": max_mean_error,
        "min_top1_agreement": min_top1,
        "min_exit_agreement": min_same_exit,
    }
    gates = {
        name: replace(gate, **{key: at for key, at in asked.items() if at is not None})
        for name, gate in gates_of(opened).items()
    }
    sample = read_sample(data, source, limit=num_images) or noise(source.checkpoint.submodel)
    with render.progress_bar("parity") as bar:
        report = recheck(
            opened,
            source.checkpoint,
            sample,
            threshold=threshold,
            gates=gates,
            on_stage=bar.say,
        )
    failed = failures(report, is_trained=is_trained)
    if json:
        render.print_json(schema.to_dict(report))
    else:
        render.out().print(table_of(report, failed))
    if output is not None:
        write_text(output, schema.to_json(report, indent=2) + "\n")
    if failed:
        (artifact, exit_index), problem = next(iter(failed.items()))
        raise ParityError(
            f"{artifact} differs from the network at exit {exit_index} {problem} "
            f"({len(failed)} of {len(report.rows)} rows fail)"
        )


def table_of(report: "ParityReport", failed: "Mapping[tuple[str, int], str]") -> "Table":
    """Lay out a parity report, a line per artifact and exit."""
    rows = [
        (
            row.artifact,
            str(row.exit_index),
            f"{row.max_abs_error:.2g}",
            f"{row.mean_abs_error:.2g}",
            f"{row.top1_agreement:.1%}",
            "-" if row.exit_agreement is None else f"{row.exit_agreement:.1%}",
            "differs" if (row.artifact, row.exit_index) in failed else "holds",
        )
        for row in report.rows
    ]
    stops = "no early stop" if report.threshold is None else f"threshold {report.threshold:g}"
    title = f"against the network on {report.num_images} images ({report.images}), {stops}"
    columns = ("artifact", "exit", "max error", "mean error", "same class", "same exit", "")
    return render.table(title, columns, rows)

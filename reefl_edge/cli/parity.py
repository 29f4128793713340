"""``reefl-edge parity``: do the artifacts of a bundle still compute what the network computes?"""

from pathlib import Path
from typing import Annotated

import typer

from reefl_edge.cli import models, options, render


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
    from reefl_edge import schema
    from reefl_edge.bundles.bundle import Bundle
    from reefl_edge.cli.parity_table import steps_table_of, table_of
    from reefl_edge.errors import ParityError
    from reefl_edge.files import write_text
    from reefl_edge.tasks.parity import ParityRequest, recheck_bundle
    from reefl_export.parity.gate import Gate

    options.check_output(output, bundle, data, model)
    options.check_threshold(threshold)
    opened = Bundle.open(bundle)
    request = ParityRequest(
        model=None if model is None else models.opened(model),
        data=data,
        num_images=num_images,
        threshold=threshold,
        gate=Gate(
            max_abs_error=max_error,
            max_mean_error=max_mean_error,
            min_top1_agreement=min_top1,
            min_exit_agreement=min_same_exit,
        ),
    )
    if opened.manifest.has_random_weights and (min_top1 or min_same_exit):
        render.warn("the weights are random: shares of images are not held to anything")
    with options.usage_errors("--min-same-exit"), render.progress_bar("parity") as bar:
        rechecked = recheck_bundle(opened, request, on_stage=bar.say)
    report, failed = rechecked.report, rechecked.failures
    for foreign in opened.manifest.foreign_certificates():
        render.warn(f"{foreign}: run reefl-edge calibrate again")
    if json:
        render.print_json(schema.to_dict(report))
    else:
        render.out().print(table_of(report, failed))
        if report.steps:
            render.out().print(steps_table_of(report))
    if output is not None:
        write_text(output, schema.to_json(report, indent=2) + "\n")
    if failed:
        (artifact, exit_index), problem = next(iter(failed.items()))
        raise ParityError(
            f"{artifact} differs from the network at exit {exit_index} {problem} "
            f"({len(failed)} of {len(report.rows)} rows fail)"
        )
    for (artifact, array), problem in rechecked.step_failures.items():
        raise ParityError(f"{artifact} differs from the network's step in {array} {problem}")

"""``reefl-edge apply``: an update into an exported bundle, without exporting again."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reefl_edge.bundles.artifacts import TARGETS
from reefl_edge.cli import options, render
from reefl_edge.cli.bundle_table import bundle_table

if TYPE_CHECKING:
    from reefl_edge.bundles.artifacts import Artifact, Target
    from reefl_edge.bundles.bundle import Bundle
    from reefl_export.refill.bundle import Refilled


def apply(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="A bundle's folder.")],
    update: Annotated[
        Path, typer.Argument(metavar="UPDATE", help="What finetune made of the bundle's model.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The new bundle's folder.")],
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            help="Images to compare other precisions with float32 on: a folder, an .npy or .npz "
            "file, or a dataset.  [default: noise]",
        ),
    ] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(
            "--calibration",
            help="Typical images for int8-static, other ones than --data; without them it is left "
            "out.",
        ),
    ] = None,
    num_images: options.NumImages = None,
    threads: options.Threads = None,
    json: options.Json = False,
) -> None:
    """Put a fine-tuning update into a bundle in seconds; ONNX only, and without PyTorch.

    ExecuTorch and Core ML hold their weights compiled: they are left out, and what exports them
    again is shown.

    Example:  reefl-edge apply bundle update.safetensors -o new-bundle --data images/
    """
    from reefl_edge import schema
    from reefl_edge.bundles.bundle import Bundle
    from reefl_edge.tasks.applying import UpdateRequest, update_bundle
    from reefl_edge.tasks.exporting import DEFAULT_NUM_IMAGES

    options.check_output(output, bundle, update, data, calibration, is_folder=True)
    options.check_num_images(num_images, data, calibration)
    opened = Bundle.open(bundle)
    if calibration is not None and not _is_calibrated(opened):
        options.refuse("--calibration", "only for onnx-int8-static, which the bundle has not")
    request = UpdateRequest(
        data=data, calibration=calibration, num_images=num_images or DEFAULT_NUM_IMAGES
    )
    with render.progress_bar("apply") as bar:
        refilled = update_bundle(opened, update, output, request, threads=threads, on_stage=bar.say)
    if json:
        document: dict[str, Any] = schema.to_dict(refilled.bundle.manifest)
        left_out = [schema.to_dict(each) for each in refilled.left_out]
        render.print_json({"bundle": str(output), "left_out": left_out, **document})
    else:
        _show(refilled)
    _tell(opened, refilled)


def _is_calibrated(bundle: "Bundle") -> bool:
    return any(artifact.name == "onnx-int8-static" for artifact in bundle.manifest.artifacts)


def _show(refilled: "Refilled") -> None:
    from reefl_edge.cli.parity_table import table_of

    bundle = refilled.bundle
    render.out().print(bundle_table(bundle.manifest))
    if refilled.parity.rows:
        render.out().print(table_of(refilled.parity, failed={}))
    render.out().print("float32 ONNX: the graphs as they were exported read every array anew")
    render.out().print(f"saved {bundle.directory}")


def _tell(before: "Bundle", refilled: "Refilled") -> None:
    """Say what the new bundle lacks, and what of it is of the weights before."""
    manifest, directory = refilled.bundle.manifest, refilled.bundle.directory
    for each in refilled.left_out:
        render.warn(f"{each.what} is left out: {each.reason}")
    for foreign in manifest.foreign_certificates():
        render.warn(f"{foreign}: run reefl-edge calibrate again")
    if any(entry.certificate is None for entry in manifest.thresholds):
        render.warn("the confidences to stop at are those that were chosen for the weights before")
    if manifest.has_random_weights:
        render.warn("weights are random: the bundle is good for measuring, not for answers")
    missing = {each.what for each in refilled.left_out}
    for target in TARGETS:
        artifacts = [
            artifact
            for artifact in before.manifest.artifacts
            if artifact.target == target != "onnx" and artifact.name in missing
        ]
        if artifacts:
            render.next_command(*_export_words(directory, target, artifacts))
    for step in () if before.manifest.training is None else before.manifest.training.steps:
        regime = step.submodel.regime
        for target in (artifact.target for artifact in step.artifacts):
            if missing & {f"{regime} training", f"{regime} training in {target}"}:
                words = ("--training", regime, "--training-batch-size", step.batch_size)
                render.next_command(
                    *("reefl-edge", "export", directory, "--format", target, *words),
                    *("-o", f"{directory}-{regime}-{target}"),
                )
    render.next_command("reefl-edge", "infer", directory, "IMAGE")


def _export_words(
    directory: Path, target: "Target", artifacts: "Sequence[Artifact]"
) -> Iterator[object]:
    """Give the words of the command that makes a format's artifacts of the new weights."""
    precisions = [artifact.precision for artifact in artifacts]
    yield from ("reefl-edge", "export", directory, "--format", target)
    yield from ("--precision", ",".join(precisions))
    sizes = artifacts[0].batch_sizes
    if sizes != (1,):
        yield from ("--batch-sizes", ",".join(map(str, sizes)))
    if "int8-static" in precisions:
        yield from ("--calibration", "IMAGES")
    yield from ("-o", f"{directory}-{target}")
